//! The status lines nginx writes, and numbers without formatting machinery.

/// The words after the digits of a status line that we make ourselves.
///
/// Source: nginx `ngx_http_header_filter_module.c`, `ngx_http_status_lines`; empty where nginx
/// has none.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// Appends `HTTP/1.1 CODE REASON` and its line end.
pub fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    three_digits(out, status);
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Appends `name: value` and its line end.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a status code, of three digits at least.
pub fn three_digits(out: &mut Vec<u8>, code: u16) {
    if 999 < code {
        return decimal(out, code.into());
    }
    let digit = |it: u16| b'0' + u8::try_from(it % 10).unwrap_or_default();
    out.extend_from_slice(&[digit(code / 100), digit(code / 10), digit(code)]);
}

/// Appends a number in decimal.
pub fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a number in lower-case hexadecimal, as a chunk size is written.
pub fn hexadecimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[usize::try_from(number & 15).unwrap_or_default()];
        number >>= 4;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_formatter_would() {
        for number in [0, 7, 10, 255, 4096, u64::MAX] {
            let (mut ten, mut sixteen) = (Vec::new(), Vec::new());
            decimal(&mut ten, number);
            hexadecimal(&mut sixteen, number);
            assert_eq!(String::from_utf8(ten).unwrap(), number.to_string());
            assert_eq!(String::from_utf8(sixteen).unwrap(), format!("{number:x}"));
        }
    }

    #[test]
    fn a_status_line_ends_in_a_blank_where_nginx_has_no_words() {
        let mut out = Vec::new();
        status_line(&mut out, 418, reason(418).as_bytes());
        assert_eq!(out, b"HTTP/1.1 418 \r\n");
    }
}
