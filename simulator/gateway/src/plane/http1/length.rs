//! Where a body ends, and what is in it.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112#section-6>

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap};
use memchr::memchr;

use super::head;

/// Longest line that starts a chunk: sixteen digits and a short extension.
const SIZE_LINE: usize = 256;

/// Largest trailer section, in bytes.
const TRAILER_BYTES: usize = 8 * 1024;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// This many bytes; 0 where there is no body.
    Exact(u64),
    /// By a chunk of size 0.
    Chunked,
    /// By the end of the connection; responses only.
    UntilClose,
}

/// Why it cannot be told.
pub(super) type Unclear = &'static str;

impl Length {
    /// Of a request. What RFC 9112 lets a server repair is refused, as another server on the
    /// way may have repaired it differently.
    pub(super) fn of_request(headers: &HeaderMap, minor: u8) -> Result<Self, Unclear> {
        let coded = headers.contains_key(header::TRANSFER_ENCODING);
        let length = content_length(headers)?;
        match (coded, length) {
            (false, length) => Ok(Self::Exact(length.unwrap_or(0))),
            (true, Some(_)) => Err("Content-Length and Transfer-Encoding exclude each other"),
            (true, None) if minor == 0 => Err("HTTP/1.0 has no Transfer-Encoding"),
            (true, None) if is_chunked(headers) => Ok(Self::Chunked),
            (true, None) => Err("the Transfer-Encoding is not supported; it can only be chunked"),
        }
    }

    /// Of a response that may have a body.
    pub(super) fn of_response(headers: &HeaderMap) -> Result<Self, Unclear> {
        let coded = headers.contains_key(header::TRANSFER_ENCODING);
        match (coded, content_length(headers)?) {
            (false, Some(length)) => Ok(Self::Exact(length)),
            (false, None) => Ok(Self::UntilClose),
            (true, None) if is_chunked(headers) => Ok(Self::Chunked),
            (true, None) => Err("the Transfer-Encoding is not supported"),
            (true, Some(_)) => Err("Content-Length and Transfer-Encoding exclude each other"),
        }
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Unclear> {
    let mut given = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err("more than one Content-Length");
    }
    let text = first.as_bytes();
    // Nineteen digits are always below the largest number.
    let digits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    if !digits {
        return Err("the Content-Length is not a number");
    }
    let number = text
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Some(number))
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = given.next();
    first.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && given.next().is_none()
}

/// Takes a body out of what was read.
#[derive(Debug)]
pub(super) struct Decoder(State);

#[derive(Debug, PartialEq, Eq)]
enum State {
    Done,
    Exact(u64),
    UntilClose,
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    /// What came made no sense, so what follows makes none either.
    Broken,
}

/// What came out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The body is over.
    End,
    /// More has to be read first.
    More,
}

impl Decoder {
    pub(super) fn new(length: Length) -> Self {
        Self(match length {
            Length::Exact(0) => State::Done,
            Length::Exact(length) => State::Exact(length),
            Length::Chunked => State::Size,
            Length::UntilClose => State::UntilClose,
        })
    }

    /// True once nothing of the body is left to read.
    pub(super) fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// Bytes left, where they were announced.
    pub(super) fn left(&self) -> Option<u64> {
        match self.0 {
            State::Done => Some(0),
            State::Exact(left) => Some(left),
            State::UntilClose
            | State::Size
            | State::Data(_)
            | State::DataEnd
            | State::Trailers
            | State::Broken => None,
        }
    }

    /// The connection has ended; false where that cuts the body.
    pub(super) fn ends_here(&mut self) -> bool {
        if self.0 == State::UntilClose {
            self.0 = State::Done;
        }
        self.is_done()
    }

    /// The next piece.
    pub(super) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Unclear> {
        let next = self.next(buffer);
        if next.is_err() {
            self.0 = State::Broken;
        }
        next
    }

    fn next(&mut self, buffer: &mut BytesMut) -> Result<Step, Unclear> {
        loop {
            match self.0 {
                State::Done => return Ok(Step::End),
                State::Broken => return Err("the body broke off"),
                _ if buffer.is_empty() => return Ok(Step::More),
                State::UntilClose => return Ok(Step::Data(buffer.split().freeze())),
                State::Exact(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 = match left {
                        0 => State::Done,
                        left => State::Exact(left),
                    };
                    return Ok(Step::Data(data));
                }
                State::Data(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 = match left {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Step::Data(data));
                }
                State::Size => match size_line(buffer)? {
                    None => return Ok(Step::More),
                    Some(0) => self.0 = State::Trailers,
                    Some(size) => self.0 = State::Data(size),
                },
                State::DataEnd => {
                    if buffer.len() < 2 && buffer[0] == b'\r' {
                        return Ok(Step::More);
                    }
                    if !buffer.starts_with(b"\r\n") {
                        return Err("a chunk is longer than its size");
                    }
                    buffer.advance(2);
                    self.0 = State::Size;
                }
                State::Trailers => return self.trailers(buffer),
            }
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Step, Unclear> {
        if buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.0 = State::Done;
            return Ok(Step::End);
        }
        match head::end(buffer, 0).map_err(|_| "a trailer is malformed")? {
            Some(end) => {
                let section = buffer.split_to(end).freeze();
                self.0 = State::Done;
                head::trailers(&section).map(Step::Trailers)
            }
            None if buffer.len() > TRAILER_BYTES => Err("the trailers are too large"),
            None => Ok(Step::More),
        }
    }
}

fn take(buffer: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let available = buffer.len() as u64;
    if available <= left {
        return (buffer.split().freeze(), left - available);
    }
    let length = usize::try_from(left).expect("it is less than what is in memory");
    (buffer.split_to(length).freeze(), 0)
}

/// Takes the line that starts a chunk; none where it is not complete.
fn size_line(buffer: &mut BytesMut) -> Result<Option<u64>, Unclear> {
    let Some(end) = memchr(b'\n', buffer) else {
        return match buffer.len() > SIZE_LINE {
            true => Err("the size of a chunk is too long"),
            false => Ok(None),
        };
    };
    let size = buffer[..end]
        .strip_suffix(b"\r")
        .filter(|line| line.len() <= SIZE_LINE)
        .and_then(size)
        .ok_or("the size of a chunk is malformed")?;
    buffer.advance(end + 1);
    Ok(Some(size))
}

/// Hexadecimal digits, and perhaps an extension, which nobody uses and which goes no further.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = digits.count();
    let (number, extension) = line.split_at(digits);
    let plain = |byte: &u8| *byte == b'\t' || (b' '..0x7f).contains(byte);
    let fit = (1..=16).contains(&digits)
        && (extension.is_empty() || extension.starts_with(b";"))
        && extension.iter().all(plain);
    let text = std::str::from_utf8(number).ok().filter(|_| fit)?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_length_of_a_request_is_clear_or_refused() {
        let length = |pairs: &[(&str, &str)], minor| Length::of_request(&headers(pairs), minor);
        let cl = "content-length";
        let te = "transfer-encoding";
        assert_eq!(length(&[], 1), Ok(Length::Exact(0)));
        assert_eq!(length(&[(cl, "12")], 1), Ok(Length::Exact(12)));
        assert_eq!(length(&[(te, "Chunked")], 1), Ok(Length::Chunked));
        for unclear in [
            &[(cl, "1"), (cl, "1")][..],
            &[(cl, "1, 1")],
            &[(cl, "+1")],
            &[(cl, "-1")],
            &[(cl, "")],
            &[(cl, "0x1")],
            &[(cl, "99999999999999999999")],
            &[(te, "chunked"), (cl, "1")],
            &[(te, "chunked"), (te, "chunked")],
            &[(te, "gzip, chunked")],
            &[(te, "chunked, identity")],
            &[(te, "xchunked")],
        ] {
            assert!(length(unclear, 1).is_err(), "{unclear:?}");
        }
        assert!(length(&[(te, "chunked")], 0).is_err());
    }

    /// What comes out when the bytes arrive in pieces of this size.
    fn decoded(bytes: &[u8], piece: usize) -> Result<(String, Option<HeaderMap>, String), Unclear> {
        let mut decoder = Decoder::new(Length::Chunked);
        let mut buffer = BytesMut::new();
        let (mut body, mut trailers) = (Vec::new(), None);
        let mut pieces = bytes.chunks(piece);
        loop {
            match decoder.step(&mut buffer)? {
                Step::Data(data) => body.extend_from_slice(&data),
                Step::Trailers(found) => trailers = Some(found),
                Step::End => break,
                Step::More => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return Err("it does not end"),
                },
            }
        }
        let rest = [&buffer[..], &pieces.collect::<Vec<_>>().concat()].concat();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok((text(body), trailers, text(rest)))
    }

    #[test]
    fn chunks_are_put_together_however_they_arrive() {
        let bytes = b"5\r\nhello\r\n00B;name=\"v\"\r\n, my world\n\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\n\r\nGET";
        for piece in 1..bytes.len() + 1 {
            let (body, trailers, rest) = decoded(bytes, piece).unwrap();
            assert_eq!(
                (body.as_str(), rest.as_str()),
                ("hello, my world\n", "GET"),
                "{piece}"
            );
            let trailers = trailers.unwrap();
            assert_eq!(trailers["x-sum"], "7");
            assert_eq!(
                trailers.len(),
                1,
                "a length in a trailer would be read by someone"
            );
        }
        assert_eq!(decoded(b"0\r\n\r\n", 1).unwrap().0, "");
    }

    #[test]
    fn a_malformed_chunk_is_refused() {
        for bytes in [
            &b"zz\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\na",
            b"1 \r\na",
            b"1;\n\r\na",
            b"1\na\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"fffffffffffffffff\r\n",
            b"1;a\0b\r\na\r\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\nX : 1\r\n\r\n",
            b"0\r\nX: 1\n\n",
        ] {
            let refused = decoded(bytes, 1).unwrap_err();
            assert_ne!(refused, "it does not end", "{:?}", bytes.escape_ascii());
        }
    }
}
