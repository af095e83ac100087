//! The pages nginx sends with a status when nobody else has a body.

use crate::engine::h1::write;

/// The page's body for a status, `None` where nginx has none.
pub fn body(status: u16, server: &str, pads: bool) -> Option<Vec<u8>> {
    let title = title(status)?;
    let (heading, detail) = match status {
        494..=497 => ("400 Bad Request", Some(&title[4..])),
        _ => (title, None),
    };
    let mut page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n"
    );
    if let Some(detail) = detail {
        page.push_str("<center>");
        page.push_str(detail);
        page.push_str("</center>\r\n");
    }
    page.push_str("<hr><center>");
    page.push_str(server);
    page.push_str("</center>\r\n</body>\r\n</html>\r\n");
    if pads && status >= 400 {
        const PAD: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";
        page.push_str(&PAD.repeat(6));
    }
    Some(page.into_bytes())
}

/// The status sent for one that is only logged.
pub fn sent_status(status: u16) -> u16 {
    if (494..=497).contains(&status) { 400 } else { status }
}

/// The words of the status line for a page of ours.
pub fn reason(status: u16) -> &'static str {
    write::reason(sent_status(status))
}

fn title(status: u16) -> Option<&'static str> {
    Some(match status {
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Authorization Required",
        402 => "402 Payment Required",
        403 => "403 Forbidden",
        404 | 498 => "404 Not Found",
        405 => "405 Not Allowed",
        406 => "406 Not Acceptable",
        408 => "408 Request Time-out",
        409 => "409 Conflict",
        410 => "410 Gone",
        411 => "411 Length Required",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Large",
        415 => "415 Unsupported Media Type",
        416 => "416 Requested Range Not Satisfiable",
        421 => "421 Misdirected Request",
        429 => "429 Too Many Requests",
        494 => "400 Request Header Or Cookie Too Large",
        495 => "400 The SSL certificate error",
        496 => "400 No required SSL certificate was sent",
        497 => "400 The plain HTTP request was sent to HTTPS port",
        500 => "500 Internal Server Error",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Temporarily Unavailable",
        504 => "504 Gateway Time-out",
        505 => "505 HTTP Version Not Supported",
        507 => "507 Insufficient Storage",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_length_nginx_gives_it() {
        assert_eq!(body(404, "nginx/1.31.4", false).map(|it| it.len()), Some(153));
        assert_eq!(body(404, "nginx/1.31.4", true).map(|it| it.len()), Some(555));
        assert_eq!(body(418, "nginx", false), None);
    }

    #[test]
    fn a_head_that_is_too_large_is_told_as_a_bad_request() {
        let page = String::from_utf8(body(494, "nginx", false).unwrap()).unwrap();
        assert!(page.contains("<title>400 Request Header Or Cookie Too Large</title>"));
        assert!(page.contains("<h1>400 Bad Request</h1>"));
        assert!(page.contains("<center>Request Header Or Cookie Too Large</center>"));
        assert_eq!(sent_status(494), 400);
    }
}
