-- An API's client that writes: the same order again and again, as JSON.
wrk.method = 'POST'
wrk.headers['Content-Type'] = 'application/json'
wrk.body = '{"customer":"Ada Lovelace","revision":"7","state":"AVAILABLE","created":"2026-01-02T03:04:05Z",'
  .. '"tags":["books","maps"],"lines":[{"sku":"A-17","count":2,"price":12.5},{"sku":"B-4","count":1,"price":3.75}],'
  .. '"gift":true}'
