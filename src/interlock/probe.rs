//! Asking a running registry whether it takes pushes.
//!
//! # The question
//!
//! `PUT /v2/<name>/manifests/<tag>` with an empty body. A registry that takes pushes answers 400, for nothing is no
//! manifest; one in read-only mode has no handler for PUT and answers 405. Neither leaves a file or a folder behind.
//! `POST /v2/<name>/blobs/uploads/` would tell the same and leave an upload behind; a pull-through cache answers it
//! with 405 although it writes.
//!
//! # Which answers are believed
//!
//! Between this program and the registry there may be a proxy that answers by itself, so the status alone proves
//! nothing. Read-only is believed only with `Docker-Distribution-Api-Version: registry/2.0` on the 405 itself;
//! docker-registry 2.8.2 sends it there, together with `Allow: GET, HEAD`. The other way round, a 400 without that
//! header is often a web server that was addressed as http and speaks https. Whatever is not clear is
//! [`ProbeAnswer::Unclear`], with what was seen.
//!
//! # Credentials
//!
//! They are sent as Basic authentication, in the first request, to the address they were given for. No redirect is
//! followed, so they go nowhere else. No proxy from the environment is used: it could answer in the registry's place.

use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::served::OnDisk;
use crate::digest::Digest;

/// The environment variable with `user:password` for the registry.
pub const AUTH_VARIABLE: &str = "REGSWEEP_REGISTRY_AUTH";

/// Repository and tag of the question. Both are valid names, and nobody has them.
const QUESTION: &str = "regsweep/read-only-probe/manifests/probe";

/// The kinds of manifests that a tag may point at. Without them 2.8 makes a manifest of schema 1 of what it has.
const MEDIA_TYPES: [&str; 5] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// How much of an answer's body is read, in bytes. The registry's own answers have less than 300.
const MAX_BODY: u64 = 4096;

/// How much of an answer's head is accepted, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// A user and a password. Neither `Debug` nor anything else here prints them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// From `user:password`. The password may hold further colons; the user may not be empty.
    ///
    /// # Errors
    /// There is no colon, or nothing before it. The error does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                Ok(Self { user: user.to_owned(), password: password.to_owned() })
            }
            _ => Err(UrlError::Credentials),
        }
    }

    /// From the environment variable [`AUTH_VARIABLE`]; `None` if it is not set or empty.
    ///
    /// # Errors
    /// As [`Credentials::parse`], and if the value is not UTF-8.
    pub fn from_environment() -> Result<Option<Self>, UrlError> {
        match std::env::var(AUTH_VARIABLE) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Self::parse(&text).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(UrlError::Credentials),
        }
    }

    /// The value of an `Authorization` header (RFC 7617).
    fn basic(&self) -> String {
        format!("Basic {}", base64(format!("{}:{}", self.user, self.password).as_bytes()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(not shown)")
    }
}

/// RFC 4648, section 4. Twelve lines rather than a dependency.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = (bits >> (18 - 6 * i) & 63) as usize;
            text.push(if i <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

/// Where a registry answers: scheme, host, port, and the prefix before `/v2/`.
///
/// Accepted are `http://host:port`, `https://host/prefix` and, for this machine only, `127.0.0.1:5000` or
/// `localhost:5000` without a scheme, which is http. For other hosts the scheme must be written: http would send
/// credentials in the clear, https would fail on a registry that does not have it, and guessing hides which of the
/// two was asked. A trailing `/` or `/v2/` is dropped.
///
/// `user:password@` is taken out and kept apart: neither `Display` nor `Debug` nor an error shows it. Two URLs are
/// equal if they lead to the same place, whatever their credentials.
#[derive(Clone)]
pub struct RegistryUrl {
    https: bool,
    /// Lower case, an IPv6 address without its brackets.
    host: String,
    port: u16,
    prefix: String,
    credentials: Option<Credentials>,
}

/// Why a text is no registry's URL. One line, and never the text itself, for a password may be in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `http://` or `https://`, and the host is not this machine.
    #[error("the registry URL for host `{host}` needs http:// or https:// before it")]
    Scheme {
        /// The host.
        host: String,
    },
    /// Another scheme.
    #[error("the registry URL begins with `{scheme}://`; http:// or https:// was expected")]
    OtherScheme {
        /// The scheme.
        scheme: String,
    },
    /// No host, or one with letters that no host has.
    #[error("the registry URL has no usable host; expected is http://HOST:PORT or https://HOST:PORT/PREFIX")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the registry URL has no usable port; expected is a number from 1 to 65535 after the last colon")]
    Port,
    /// The path is more than a prefix.
    #[error("the registry URL has more than a path after its host; leave out `?`, `#` and blanks")]
    Path,
    /// `user:password` is not of that form.
    #[error("the registry's credentials are not of the form user:password (in the URL or in {AUTH_VARIABLE})")]
    Credentials,
}

impl FromStr for RegistryUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = match text.trim().split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text.trim()),
        };
        // In a URL an `@` in a password is written %40, but people paste what they have: the last @ before the path
        // ends the credentials.
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => {
                let (user, password) = userinfo.split_once(':').ok_or(UrlError::Credentials)?;
                let text = format!("{}:{}", percent_decoded(user)?, percent_decoded(password)?);
                (Some(Credentials::parse(&text)?), address)
            }
            None => (None, authority),
        };
        let (host, port) = host_and_port(address)?;
        // Somebody's password had a / in it, so that what looks like a host here may be half of it: not to be shown.
        if path.contains('@') {
            return Err(UrlError::Path);
        }
        let https = match scheme.as_deref() {
            Some("http") => false,
            Some("https") => true,
            // With an @ in its path the "scheme" may be half a password; it is not repeated then.
            Some(other) if other.chars().all(|c| c.is_ascii_alphanumeric()) && credentials.is_none() => {
                return Err(UrlError::OtherScheme { scheme: other.to_owned() });
            }
            Some(_) => return Err(UrlError::Host),
            None if is_loopback(&host) => false,
            None => return Err(UrlError::Scheme { host }),
        };
        if path.contains(['?', '#', '\\', '"', '<', '>']) || path.chars().any(|c| c.is_control() || c == ' ') {
            return Err(UrlError::Path);
        }
        let path = path.trim_end_matches('/');
        let prefix = path.strip_suffix("/v2").unwrap_or(path).trim_end_matches('/').to_owned();
        if !prefix.is_ascii() {
            return Err(UrlError::Path);
        }
        Ok(Self { https, host, port: port.unwrap_or(if https { 443 } else { 80 }), prefix, credentials })
    }
}

fn host_and_port(address: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => return Err(UrlError::Host),
            }
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !(address.starts_with('[') || host.chars().all(usable)) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None => None,
        Some(port) => {
            let number = port.parse::<u16>().ok().filter(|number| *number != 0 && !port.starts_with('+'));
            Some(number.ok_or(UrlError::Port)?)
        }
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn percent_decoded(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(UrlError::Credentials)?;
        bytes.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Credentials)
}

/// Whether a host is this machine, by its name alone. Nothing is resolved.
fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

impl RegistryUrl {
    /// The credentials that stood in the URL.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Whether it leads to this machine: 127.0.0.0/8, `::1` or `localhost`.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl PartialEq for RegistryUrl {
    fn eq(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port, &self.prefix) == (other.https, &other.host, other.port, &other.prefix)
    }
}

impl Eq for RegistryUrl {}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}", self.host)?;
        if self.port != if self.https { 443 } else { 80 } {
            write!(f, ":{}", self.port)?;
        }
        // A prefix that itself ends in /v2: the parser would take it for the registry's own and drop it.
        let own = if self.prefix.ends_with("/v2") { "/v2/" } else { "" };
        write!(f, "{}{own}", self.prefix)
    }
}

impl fmt::Debug for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryUrl({self})")
    }
}

/// What a registry's answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// A registry answers and refuses pushes because it is in read-only mode.
    ReadOnly,
    /// A registry answers and would take a push.
    Writable,
    /// The answer depends on credentials that were not given or not accepted (401, 403).
    CredentialsNeeded,
    /// Nobody listens there: the connection was refused.
    NobodyServes,
    /// A registry answers, and what it serves is not what lies on disk: in words, what it says of which image.
    OtherStorage(String),
    /// Anything else, in words: what was seen and why it proves nothing.
    Unclear(String),
}

/// [`probe`], and a registry that is in read-only mode is asked for images that lie on disk
/// ([`on_disk`](super::served::on_disk)), until it clearly has another or none for one of them.
///
/// One that is the same proves nothing, for two registries may well hold the same image; and nothing moves meanwhile in
/// a registry that takes no pushes. An answer that is not clear says nothing for or against.
pub fn probe_for(images: &[OnDisk], url: &RegistryUrl, auth: Option<&Credentials>, timeout: Duration) -> ProbeAnswer {
    let answer = probe(url, auth, timeout);
    if answer != ProbeAnswer::ReadOnly {
        return answer;
    }
    let wrong = images.iter().find_map(|image| match served_digest(image, url, auth, timeout)? {
        Ok(digest) if digest == image.digest => None,
        Ok(digest) => Some(format!("{} is {digest} there", named(image))),
        Err(()) => Some(format!("it has no {}", named(image))),
    });
    wrong.map_or(ProbeAnswer::ReadOnly, ProbeAnswer::OtherStorage)
}

fn named(image: &OnDisk) -> String {
    format!("{}:{}", image.repository, image.tag)
}

/// What a registry says that this tag points at: a digest, or that it does not have it; nothing if that is not clear.
fn served_digest(
    image: &OnDisk,
    url: &RegistryUrl,
    auth: Option<&Credentials>,
    timeout: Duration,
) -> Option<Result<Digest, ()>> {
    let mut request = agent(url, timeout).head(format!("{url}/v2/{}/manifests/{}", image.repository, image.tag));
    for media_type in MEDIA_TYPES {
        request = request.header("accept", media_type);
    }
    if let Some(credentials) = auth {
        request = request.header("authorization", credentials.basic());
    }
    let response = request.call().ok().filter(is_from_registry)?;
    match response.status().as_u16() {
        200 => {
            let digest = response.headers().get("docker-content-digest")?.to_str().ok()?;
            Some(Ok(digest.parse().ok()?))
        }
        404 => Some(Err(())),
        _ => None,
    }
}

/// Asks the registry at `url` whether it takes pushes, within `timeout` for everything together.
///
/// It sends one PUT that every registry refuses and, after a 405 that no registry seems to have sent, one GET. It
/// never pushes anything, follows no redirect, uses no proxy of the environment and reads at most 4 KiB of a body.
/// `auth` is sent if it is given; the URL's own credentials are **not** taken by themselves, so that the caller
/// decides what goes where.
///
/// Certificates are checked against the operating system's trust store. For a host on this machine any certificate is
/// accepted: the address is most often the config's own `http.addr`, where a certificate carries the registry's
/// public name and can never match, and whoever could listen there in the registry's place could also be any process
/// of this machine. What could be lost is credentials, and those go there only if the operator gave them for that
/// very address.
pub fn probe(url: &RegistryUrl, auth: Option<&Credentials>, timeout: Duration) -> ProbeAnswer {
    let agent = agent(url, timeout);
    let authorization = auth.map(Credentials::basic);
    let mut request = agent.put(format!("{url}/v2/{QUESTION}"));
    if let Some(value) = &authorization {
        request = request.header("authorization", value);
    }
    let mut response = match request.send_empty() {
        Ok(response) => response,
        Err(error) => return from_error(&error, url.https),
    };
    let status = response.status();
    let from_registry = is_from_registry(&response);
    match status.as_u16() {
        201 | 202 => ProbeAnswer::Writable,
        400 => {
            let body = body(&mut response);
            if from_registry || body.contains("MANIFEST_INVALID") {
                return ProbeAnswer::Writable;
            }
            let hint = if url.https { "" } else { "; perhaps it speaks https" };
            ProbeAnswer::Unclear(format!("400 without a registry's header: this is no registry's answer{hint}"))
        }
        401 | 403 => ProbeAnswer::CredentialsNeeded,
        405 if from_registry => refused_method(&mut response),
        405 => {
            let mut request = agent.get(format!("{url}/v2/"));
            if let Some(value) = &authorization {
                request = request.header("authorization", value);
            }
            let behind = match request.call() {
                Ok(response) if is_from_registry(&response) => {
                    "a registry answers at /v2/, but this 405 may come from a proxy before it; ask the registry \
                     directly"
                }
                Ok(_) => "no registry answers at /v2/ either",
                Err(_) => "and /v2/ gives no answer",
            };
            ProbeAnswer::Unclear(format!("405 without a registry's header: {behind}"))
        }
        300..=399 => {
            ProbeAnswer::Unclear(format!("{}, which is not followed; give the URL it leads to", words(status)))
        }
        404 if from_registry => {
            ProbeAnswer::Unclear("404 from a registry: is there a path prefix that the URL lacks?".to_owned())
        }
        _ => ProbeAnswer::Unclear(words(status)),
    }
}

fn agent(url: &RegistryUrl, timeout: Duration) -> Agent {
    let tls =
        TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).disable_verification(url.is_loopback()).build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(timeout))
        .max_response_header_size(MAX_HEAD)
        .user_agent(concat!("regsweep/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .into()
}

/// A 405 that a registry sent: read-only mode, unless it says otherwise.
///
/// Read-only mode takes the handler away and answers with `Allow: GET, HEAD` and no JSON. A registry that refuses a
/// push for another reason (a pull-through cache, a proxy project) says `UNSUPPORTED` in JSON; that one may still
/// write.
fn refused_method(response: &mut Response<Body>) -> ProbeAnswer {
    let allows_put = response
        .headers()
        .get_all("allow")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|method| method.trim().eq_ignore_ascii_case("PUT"));
    if allows_put {
        return ProbeAnswer::Unclear("405 from a registry that nevertheless lists PUT as allowed".to_owned());
    }
    if body(response).contains("\"errors\"") {
        let message = "405 from a registry, but with an error of its own: it does not support this push, which is \
            not the same as read-only mode";
        return ProbeAnswer::Unclear(message.to_owned());
    }
    ProbeAnswer::ReadOnly
}

fn is_from_registry(response: &Response<Body>) -> bool {
    response
        .headers()
        .get_all("docker-distribution-api-version")
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.split([',', ' ']).any(|word| word == "registry/2.0")))
}

/// The beginning of a body, as far as it can be read.
fn body(response: &mut Response<Body>) -> String {
    let mut bytes = Vec::new();
    // An answer whose body breaks off is judged by what is there.
    let _ignored = response.body_mut().as_reader().take(MAX_BODY).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn from_error(error: &ureq::Error, is_https: bool) -> ProbeAnswer {
    let is_cut = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    let hint = match error {
        // The first bytes of a TLS answer are those of an HTTP answer then.
        _ if is_https && error.to_string().contains("InvalidContentType") => "; perhaps it speaks http, without TLS",
        ureq::Error::Io(error) if !is_https && is_cut(error) => "; perhaps it speaks https",
        _ => "",
    };
    let words = match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return ProbeAnswer::NobodyServes;
        }
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "the host's name is not known".to_owned(),
        ureq::Error::Rustls(error) => format!("TLS failed: {error}"),
        ureq::Error::Tls(error) => format!("TLS failed: {error}"),
        ureq::Error::Io(error) => format!("the connection failed: {error}"),
        other => format!("no HTTP answer: {other}"),
    };
    ProbeAnswer::Unclear(format!("{}{hint}", words.lines().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests;
