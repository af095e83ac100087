//! One call of gRPC over HTTP/2: a batch goes, a status comes.
//!
//! Source: "gRPC over HTTP2" (`PROTOCOL-HTTP2.md` of grpc), requests and responses.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Uri, header};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Target;
use super::proto::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use super::tls;
use crate::conf::address::Host;

/// What is called.
const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest wait for an answer; OpenTelemetry's own default.
const ANSWER: Duration = Duration::from_secs(10);

/// Port of an address that has none, as gRPC assumes.
const PORT: u16 = 443;

/// Longest answer that is read: it says little.
const LONGEST_ANSWER: usize = 64 << 10;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Both directions of a connection.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to a collector.
#[derive(Clone, Debug)]
pub(super) struct Client {
    sender: SendRequest<Bytes>,
    uri: Uri,
}

impl Client {
    /// Connects; an error is a text for the operator.
    pub(super) async fn connect(target: &Target) -> Result<Self, String> {
        timeout(CONNECT, open(target)).await.unwrap_or_else(|_| Err("connect timed out".to_owned()))
    }

    /// The same once it can take a call; an error where the connection is not there any more.
    pub(super) async fn ready(self) -> Result<Self, String> {
        let sender = self.sender.ready().await.map_err(|it| it.to_string())?;
        Ok(Self { sender, uri: self.uri })
    }

    /// Sends a batch. How many of its spans were refused, and why.
    pub(super) async fn export(
        mut self,
        target: &Target,
        message: &ExportTraceServiceRequest,
    ) -> Result<(u64, String), String> {
        let mut request = Request::post(self.uri.clone());
        let headers = request.headers_mut().ok_or("the address is no URL")?;
        headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
        let grpc = header::HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, grpc);
        let agent = concat!("balancer/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static(agent));
        headers.extend(target.headers.iter().cloned());
        let request = request.body(()).map_err(|it| it.to_string())?;
        let (answer, mut body) =
            self.sender.send_request(request, false).map_err(|it| it.to_string())?;
        body.send_data(frame(message), true).map_err(|it| it.to_string())?;
        let told = timeout(ANSWER, status(answer)).await;
        let message = told.unwrap_or_else(|_| Err("the collector does not answer".to_owned()))?;
        let partial = ExportTraceServiceResponse::decode(message).ok();
        let partial = partial.and_then(|it| it.partial_success).unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
        Ok((rejected, partial.error_message))
    }
}

async fn open(target: &Target) -> Result<Client, String> {
    let text = |it: std::io::Error| it.to_string();
    let address = &target.address;
    let port = address.port_or(PORT);
    let (host, io): (String, Box<dyn Io>) = match &address.host {
        Host::Unix(path) => {
            ("localhost".to_owned(), Box::new(UnixStream::connect(path).await.map_err(text)?))
        }
        Host::Ip(ip) => {
            let stream = TcpStream::connect((*ip, port)).await.map_err(text)?;
            (ip.to_string(), Box::new(stream))
        }
        Host::Name(name) => {
            let stream = TcpStream::connect((name.as_str(), port)).await.map_err(text)?;
            (name.clone(), Box::new(stream))
        }
        Host::Any => return Err("no host".to_owned()),
    };
    let scheme = if target.is_tls { "https" } else { "http" };
    let authority = match &address.host {
        Host::Unix(_) => host.clone(),
        _ if host.contains(':') => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(PATH).build();
    let uri = uri.map_err(|it| it.to_string())?;
    let sender = if target.is_tls {
        shake_hands(tls::connect(target.trusted.as_deref(), &host, io).await?).await?
    } else {
        shake_hands(io).await?
    };
    Ok(Client { sender, uri })
}

async fn shake_hands<T: Io + 'static>(io: T) -> Result<SendRequest<Bytes>, String> {
    let (sender, connection) = h2::client::handshake(io).await.map_err(|it| it.to_string())?;
    // Its end is seen by whoever sends next.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// A message as gRPC frames it: not compressed, length before it.
fn frame(message: &ExportTraceServiceRequest) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX + length);
    out.put_u8(0);
    // No batch comes near 4 GiB: a span has a head of a request in it, and there are few of them.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put(message.encode_to_vec().as_slice());
    out.freeze()
}

/// The message of an answer whose status is OK.
async fn status(answer: ResponseFuture) -> Result<Bytes, String> {
    let answer = answer.await.map_err(|it| it.to_string())?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("the collector answered with status {}", answer.status().as_u16()));
    }
    let (head, mut body) = answer.into_parts();
    let mut read = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|it| it.to_string())?;
        if LONGEST_ANSWER < read.len() + data.len() {
            return Err("the answer of the collector is too long".to_owned());
        }
        // Room that is not given back would stop the connection; it cannot be given back too often.
        let _ = body.flow_control().release_capacity(data.len());
        read.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.map_err(|it| it.to_string())?;
    let length = read.len();
    // An answer without a message has its status in its head.
    let fields = trailers.as_ref().unwrap_or(&head.headers);
    match field(fields, "grpc-status") {
        Some("0") => Ok(read.freeze().slice(PREFIX.min(length)..)),
        Some(code) => {
            let text = field(fields, "grpc-message").unwrap_or_default();
            Err(format!("the collector answered with gRPC status {code} {text}").trim().to_owned())
        }
        None => Err("the collector does not speak gRPC".to_owned()),
    }
}

fn field<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name)?.to_str().ok()
}
