-- Visitors of one page, each with cookies of their own: the URL is the one given to wrk, and so are all other fields.
local counter = 0

local before = table.concat({
  'Host: shop.example.com',
  'Connection: keep-alive',
  'sec-ch-ua: "Chromium";v="138", "Google Chrome";v="138", "Not/A)Brand";v="24"',
  'sec-ch-ua-mobile: ?0',
  'sec-ch-ua-platform: "Linux"',
  'Upgrade-Insecure-Requests: 1',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36',
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8',
  'Sec-Fetch-Site: same-origin',
  'Sec-Fetch-Mode: navigate',
  'Sec-Fetch-User: ?1',
  'Sec-Fetch-Dest: document',
  'Referer: https://shop.example.com/catalogue',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Accept-Language: en-GB,en;q=0.9,de;q=0.8',
}, '\r\n')

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
