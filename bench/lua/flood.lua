-- Heads that share nothing a memo could use: the target and the value of every field differ each time.
local counter = 0

function init(args)
  math.randomseed(os.time())
  counter = math.random(1, 100000000)
end

local pattern = 'GET /%x HTTP/1.1\r\nHost: h%x.example.com\r\nUser-Agent: agent/%x\r\nAccept: text/x-%x\r\n' ..
  'Accept-Language: x-%x\r\nReferer: https://r%x.example.com/\r\nX-One: %x\r\nX-Two: %x\r\nX-Three: %x\r\n' ..
  'X-Four: %x\r\nX-Five: %x\r\nCookie: session=%x\r\n\r\n'

function request()
  counter = counter + 1
  local c = counter
  return string.format(pattern, c, c, c, c, c, c, c, c, c, c, c, c)
end
