//! Requests to a real registry.

use std::time::Duration;

use serde_json::Value;

use super::{MARK, PASSWORD, RealRegistry, USER};

/// An answer of the registry.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) location: String,
    pub(crate) mark: String,
    pub(crate) body: Vec<u8>,
}

impl RealRegistry {
    /// Any request to the registry, with the account where it asks for one.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url()) };
        let account = base64(format!("{USER}:{PASSWORD}").as_bytes());
        let authorization = format!("Basic {account}");
        let mut headers = headers.to_vec();
        if self.with_password {
            headers.push(("Authorization", &authorization));
        }
        request(method, &url, &headers, body, Duration::from_secs(30))
            .unwrap_or_else(|error| panic!("{method} {url}: {error}\n{}", self.log()))
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(super) fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
    patience: Duration,
) -> Result<Answer, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .proxy(None)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = match body {
        Some(bytes) => agent.run(request.body(bytes)?)?,
        None => agent.run(request.body(())?)?,
    };
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    let (content_type, location, mark) = (header("Content-Type"), header("Location"), header(MARK));
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
    Ok(Answer { status, content_type, location, mark, body })
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain([&0, &0]).take(3).fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        for position in 0..4 {
            let letter = char::from(LETTERS[group >> (18 - 6 * position) & 63]);
            text.push(if position > chunk.len() { '=' } else { letter });
        }
    }
    text
}
