-- A desktop Chrome's request. The path, the query and the cookie differ from request to request; the rest repeats.
-- The path begins with the one of the URL given to wrk.
local counter = 0

local before = browser_fields('Cache-Control: max-age=0')

function init(args)
  math.randomseed(os.time())
  counter = math.random(1, 100000000)
end

function request()
  counter = counter + 1
  return string.format(
    'GET %s/%d/item-%d?page=%d&ref=%x HTTP/1.1\r\n%s\r\nCookie: session=%08x%08x; theme=dark; seen=%d\r\n\r\n',
    wrk.path, counter % 997, counter, counter % 50, counter, before, counter, counter * 7, counter)
end
