-- A page's script that calls an API: key and origin repeat, path and query differ from request to request.
-- The path begins with the one of the URL given to wrk.
local counter = 0

local before = browser_fields('Origin: https://shop.example.com\r\nX-API-Key: ' .. 'bench-0123456789abcdef0123456789abcdef')

function init(args)
  math.randomseed(os.time())
  counter = math.random(1, 100000000)
end

function request()
  counter = counter + 1
  return string.format(
    'GET %s/%d/item-%d?page=%d&ref=%x HTTP/1.1\r\n%s\r\n\r\n',
    wrk.path, counter % 997, counter, counter % 50, counter, before)
end
