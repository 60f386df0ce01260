vcl 4.1;
backend web { .host = "127.0.0.1"; .port = "@web_port@"; }
# Visitors share what does not vary on their cookies, as with the others.
sub vcl_backend_response { if (bereq.url ~ "^/cached/text/") { set beresp.do_gzip = true; } }
sub vcl_recv { unset req.http.Cookie; }
