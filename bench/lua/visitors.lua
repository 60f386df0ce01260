-- Visitors of one page, each with cookies of their own: the URL is the one given to wrk, and so are all other fields.
local counter = 0

local before = browser_fields()

function init(args)
  math.randomseed(os.time())
  counter = math.random(1, 100000000)
end

function request()
  counter = counter + 1
  return string.format(
    'GET %s HTTP/1.1\r\n%s\r\nCookie: session=%08x%08x; theme=dark; seen=%d\r\n\r\n',
    wrk.path, before, counter, counter * 7, counter)
end
