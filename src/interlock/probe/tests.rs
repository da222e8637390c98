use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::layout::{RepositoryName, TagName};

const HEADER: &str = "Docker-Distribution-Api-Version: registry/2.0\r\n";
const SECOND: Duration = Duration::from_secs(5);

/// Answers one connection after the other with the given texts, and hands out the requests.
fn server(answers: Vec<String>) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&buffer[..n]),
                }
            }
            sender.send(String::from_utf8_lossy(&request).into_owned()).unwrap();
            let _ignored = stream.write_all(answer.as_bytes());
        }
    });
    (port, requests)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn ask(port: u16) -> ProbeAnswer {
    probe(&format!("127.0.0.1:{port}").parse().unwrap(), None, SECOND)
}

#[test]
fn answers() {
    let api = HEADER;
    let allow = format!("{HEADER}Allow: GET, HEAD\r\n");
    let allow_put = format!("{HEADER}Allow: GET, PUT\r\n");
    let invalid = "{\"errors\":[{\"code\":\"MANIFEST_INVALID\",\"message\":\"manifest invalid\",\"detail\":{}}]}\n";
    let unsupported = "{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"The operation is unsupported.\"}]}\n";
    let location = "Location: http://127.0.0.1:1/\r\n";
    let unclear = |part: &str| ProbeAnswer::Unclear(part.to_owned());
    let table: Vec<(&str, &str, &str, ProbeAnswer)> = vec![
        // as docker-registry 2.8.2 answers
        ("405 Method Not Allowed", &allow, "Method not allowed\n", ProbeAnswer::ReadOnly),
        ("400 Bad Request", api, invalid, ProbeAnswer::Writable),
        ("401 Unauthorized", api, "", ProbeAnswer::CredentialsNeeded),
        ("404 Not Found", api, "404 page not found\n", unclear("prefix")),
        ("405 Method Not Allowed", api, unsupported, unclear("not the same")),
        // as others answer
        ("405 Method Not Allowed", "docker-distribution-api-version: registry/2.0\r\n", "", ProbeAnswer::ReadOnly),
        ("405 Method Not Allowed", &allow_put, "", unclear("lists PUT")),
        ("400 Bad Request", "", invalid, ProbeAnswer::Writable),
        ("400 Bad Request", "", "Client sent an HTTP request to an HTTPS server.\n", unclear("speaks https")),
        ("201 Created", "", "", ProbeAnswer::Writable),
        ("202 Accepted", api, "", ProbeAnswer::Writable),
        ("403 Forbidden", "", "", ProbeAnswer::CredentialsNeeded),
        ("200 OK", api, "", unclear("200")),
        ("204 No Content", api, "", unclear("204")),
        ("301 Moved Permanently", location, "", unclear("not followed")),
        ("307 Temporary Redirect", location, "", unclear("not followed")),
        ("308 Permanent Redirect", location, "", unclear("not followed")),
        ("404 Not Found", "", "", unclear("404")),
        ("429 Too Many Requests", api, "", unclear("429")),
        ("500 Internal Server Error", api, "", unclear("500")),
        ("503 Service Unavailable", "", "", unclear("503")),
    ];
    for (status, headers, body, expected) in table {
        let (port, requests) = server(vec![answer(status, headers, body)]);
        let got = ask(port);
        match (&got, &expected) {
            (ProbeAnswer::Unclear(got), ProbeAnswer::Unclear(part)) => {
                assert!(got.contains(part), "{status}: {got}")
            }
            _ => assert_eq!(got, expected, "{status} {headers}"),
        }
        let request = requests.recv().unwrap().to_ascii_lowercase();
        assert!(request.starts_with("put /v2/regsweep/read-only-probe/manifests/probe http/1.1\r\n"), "{request}");
        assert!(request.contains("content-length: 0\r\n"), "{request}");
        assert!(!request.contains("authorization"), "{request}");
        assert!(requests.recv().is_err(), "{status}: a second request");
    }
}

#[test]
fn a_405_that_a_proxy_may_have_sent_proves_nothing() {
    let table = [
        (answer("200 OK", HEADER, "{}"), "a registry answers at /v2/"),
        (answer("401 Unauthorized", HEADER, ""), "a registry answers at /v2/"),
        (answer("200 OK", "", "<html>"), "no registry answers"),
        (answer("200 OK", "Docker-Distribution-Api-Version: registry/1.0\r\n", ""), "no registry answers"),
        (String::new(), "gives no answer"),
    ];
    for (second, expected) in table {
        let (port, requests) = server(vec![answer("405 Not Allowed", "Server: nginx\r\n", "<html>"), second]);
        let got = ask(port);
        assert!(matches!(&got, ProbeAnswer::Unclear(words) if words.contains(expected)), "{got:?}");
        requests.recv().unwrap();
        assert!(requests.recv().unwrap().starts_with("GET /v2/ HTTP/1.1\r\n"));
    }
}

#[test]
fn credentials_are_sent_where_they_are_given_and_nowhere_else() {
    let given = Credentials::parse("user:pa:ss").unwrap();
    let (port, requests) = server(vec![answer("307 Temporary Redirect", "Location: /elsewhere\r\n", "")]);
    let url = format!("http://other:secret@127.0.0.1:{port}/x").parse().unwrap();
    assert!(matches!(probe(&url, Some(&given), SECOND), ProbeAnswer::Unclear(_)));
    let request = requests.recv().unwrap();
    assert!(request.contains("Basic dXNlcjpwYTpzcw==\r\n"), "{request}");
    assert!(request.starts_with("PUT /x/v2/"), "{request}");
    assert!(!request.contains("secret") && !request.contains("b3RoZXI6c2VjcmV0"), "{request}");
    assert!(requests.recv().is_err(), "the redirect was followed");
}

/// What lies on disk, for [`probe_for`].
fn image(repository: &str, tag: &str, digit: char) -> OnDisk {
    OnDisk::new(RepositoryName::parse(repository).unwrap(), TagName::parse(tag).unwrap(), digest(digit))
}

fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
}

/// A read-only registry is asked for one image after the other, until it clearly has another for one of them: then it is
/// another registry, whatever it has in common with this one. What is not clear says nothing.
#[test]
fn t61_a_registry_is_asked_for_what_lies_on_disk() {
    let read_only = || answer("405 Method Not Allowed", &format!("{HEADER}Allow: GET, HEAD\r\n"), "");
    let has = |digit| answer("200 OK", &format!("{HEADER}Docker-Content-Digest: {}\r\n", digest(digit)), "");
    let (none, no_digest) = (|| answer("404 Not Found", HEADER, ""), || answer("200 OK", HEADER, ""));
    let not_a_registry = || answer("404 Not Found", "", "");
    let (denied, busy) = (|| answer("401 Unauthorized", HEADER, ""), || answer("429 Too Many Requests", HEADER, ""));
    let bad_digest = || answer("200 OK", &format!("{HEADER}Docker-Content-Digest: sha256:abc\r\n"), "");
    let other = |words: &str| ProbeAnswer::OtherStorage(words.to_owned());
    let other_digest = format!("team/app:v1 is {} there", digest('c'));
    let second_digest = format!("team/other/deep:v2 is {} there", digest('c'));
    let table = [
        ("both are it", vec![has('a'), has('b')], ProbeAnswer::ReadOnly),
        ("the first is another", vec![has('c')], other(&other_digest)),
        ("the first is not there", vec![none()], other("it has no team/app:v1")),
        ("one in common, the second is another", vec![has('a'), has('c')], other(&second_digest)),
        ("one in common, the second is not there", vec![has('a'), none()], other("it has no team/other/deep:v2")),
        ("one that needs credentials, then none", vec![denied(), none()], other("it has no team/other/deep:v2")),
        ("too many requests, then another", vec![busy(), has('c')], other(&second_digest)),
        ("one breaks off, then none", vec![String::new(), none()], other("it has no team/other/deep:v2")),
        ("one is it, the other needs credentials", vec![has('a'), denied()], ProbeAnswer::ReadOnly),
        ("answers that need credentials", vec![denied(), denied()], ProbeAnswer::ReadOnly),
        ("too many requests", vec![busy(), busy()], ProbeAnswer::ReadOnly),
        ("no digest", vec![no_digest(), no_digest()], ProbeAnswer::ReadOnly),
        ("no digest that is one", vec![bad_digest(), bad_digest()], ProbeAnswer::ReadOnly),
        ("404 of a proxy", vec![not_a_registry(), not_a_registry()], ProbeAnswer::ReadOnly),
        ("the connection breaks off", vec![String::new(), String::new()], ProbeAnswer::ReadOnly),
    ];
    let images = [image("team/app", "v1", 'a'), image("team/other/deep", "v2", 'b')];
    for (what, answers, expected) in table {
        let asked = answers.len();
        let (port, requests) = server([vec![read_only()], answers].concat());
        let url: RegistryUrl = format!("http://127.0.0.1:{port}/prefix/").parse().unwrap();
        let credentials = Credentials::parse("user:word").unwrap();
        assert_eq!(probe_for(&images, &url, Some(&credentials), SECOND), expected, "{what}");
        // All that were made have come in; a server that was not asked often enough still waits.
        let requests: Vec<String> = requests.try_iter().collect();
        assert_eq!(requests.len(), 1 + asked, "{what}: {requests:?}");
        for (request, path) in requests[1..].iter().zip(["team/app/manifests/v1", "team/other/deep/manifests/v2"]) {
            assert!(request.starts_with(&format!("HEAD /prefix/v2/{path} HTTP/1.1\r\n")), "{what}: {request}");
            let request = request.to_ascii_lowercase();
            assert!(request.contains("\r\nauthorization: basic dxnlcjp3b3jk\r\n"), "{what}: {request}");
            assert!(request.contains("application/vnd.oci.image.index.v1+json"), "{what}: {request}");
        }
    }
}

/// Where there is nothing to ask for, and where the registry is not read-only, nothing more is asked.
#[test]
fn a_registry_is_asked_for_nothing_without_need() {
    let images = [image("team/app", "v1", 'a')];
    let (read_only, writable) = (
        answer("405 Method Not Allowed", &format!("{HEADER}Allow: GET, HEAD\r\n"), ""),
        answer("400 Bad Request", HEADER, ""),
    );
    for (images, answer, expected) in
        [(&images[..0], read_only, ProbeAnswer::ReadOnly), (&images[..], writable, ProbeAnswer::Writable)]
    {
        let (port, requests) = server(vec![answer]);
        let url = format!("http://127.0.0.1:{port}").parse().unwrap();
        assert_eq!(probe_for(images, &url, None, SECOND), expected);
        assert_eq!(requests.iter().count(), 1);
    }
}

#[test]
fn no_answer() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(ask(port), ProbeAnswer::NobodyServes);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let got = probe(&silent, None, Duration::from_millis(200));
    assert_eq!(got, ProbeAnswer::Unclear("no answer in time".to_owned()));

    for (text, https) in [("", false), ("SSH-2.0-OpenSSH\r\n", false), ("HTTP/1.1 400 Bad Request\r\n\r\n", true)] {
        let (port, _requests) = server(vec![text.to_owned()]);
        let scheme = if https { "https" } else { "http" };
        let got = probe(&format!("{scheme}://127.0.0.1:{port}").parse().unwrap(), None, SECOND / 10);
        assert!(matches!(&got, ProbeAnswer::Unclear(words) if !words.contains('\n')), "{text:?}: {got:?}");
    }
    let got = probe(&"http://name.invalid:5000".parse().unwrap(), None, SECOND / 10);
    assert!(matches!(got, ProbeAnswer::Unclear(_)), "{got:?}");
}

/// Somebody has written https for a registry that speaks http.
#[test]
fn an_http_port_that_is_asked_with_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The greeting of TLS, in one read.
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).unwrap() > 5);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        // Until the other side has gone.
        let _ignored = stream.read(&mut buffer);
    });
    let answer = probe(&format!("https://127.0.0.1:{port}").parse().unwrap(), None, SECOND);
    let ProbeAnswer::Unclear(words) = answer else { panic!("{answer:?}") };
    assert!(words.ends_with("; perhaps it speaks http, without TLS"), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    answering.join().unwrap();
}

#[test]
fn a_body_without_end_is_cut_off() {
    let (port, _requests) = server(vec![format!(
        "HTTP/1.1 405 Method Not Allowed\r\n{HEADER}Content-Length: 99999999\r\n\r\n{}",
        "x".repeat(100_000)
    )]);
    assert_eq!(ask(port), ProbeAnswer::ReadOnly);
}

#[test]
fn urls() {
    let table = [
        ("http://127.0.0.1:5000", Ok("http://127.0.0.1:5000")),
        ("https://Registry.Example.org", Ok("https://registry.example.org")),
        ("https://registry.example.org:443/", Ok("https://registry.example.org")),
        ("http://h:443", Ok("http://h:443")),
        ("https://h:5000/prefix", Ok("https://h:5000/prefix")),
        ("https://h:5000/a/b/v2/", Ok("https://h:5000/a/b")),
        ("http://h/v2", Ok("http://h")),
        ("http://h/v2/v2/", Ok("http://h/v2/v2/")),
        (" http://h ", Ok("http://h")),
        ("HTTP://h", Ok("http://h")),
        ("localhost:5000", Ok("http://localhost:5000")),
        ("127.0.0.9:5000", Ok("http://127.0.0.9:5000")),
        ("[::1]:5000", Ok("http://[::1]:5000")),
        ("https://[2001:db8::1]/x", Ok("https://[2001:db8::1]/x")),
        ("http://user:secret@h:5000", Ok("http://h:5000")),
        ("http://user:se@ret@h:5000", Ok("http://h:5000")),
        ("http://user:%40%3a@h:5000", Ok("http://h:5000")),
        ("user:secret@localhost:5000", Ok("http://localhost:5000")),
        ("registry:5000", Err(UrlError::Scheme { host: "registry".to_owned() })),
        ("user:secret@registry:5000", Err(UrlError::Scheme { host: "registry".to_owned() })),
        ("ftp://h", Err(UrlError::OtherScheme { scheme: "ftp".to_owned() })),
        ("user:secret://x@h", Err(UrlError::Credentials)),
        ("", Err(UrlError::Host)),
        ("http://", Err(UrlError::Host)),
        ("http://:5000", Err(UrlError::Host)),
        ("http://a b", Err(UrlError::Host)),
        ("http://[::1", Err(UrlError::Host)),
        ("http://[secret]", Err(UrlError::Host)),
        ("http://::1", Err(UrlError::Host)),
        ("http://h:", Err(UrlError::Port)),
        ("http://h:0", Err(UrlError::Port)),
        ("http://h:65536", Err(UrlError::Port)),
        ("http://h:+5", Err(UrlError::Port)),
        ("http://user@h", Err(UrlError::Credentials)),
        ("http://:secret@h", Err(UrlError::Credentials)),
        ("http://user:%zz@h", Err(UrlError::Credentials)),
        ("http://user:%4@h", Err(UrlError::Credentials)),
        ("http://h/?x", Err(UrlError::Path)),
        ("http://h/#x", Err(UrlError::Path)),
        ("http://h/a b", Err(UrlError::Path)),
        ("http://user:sec/ret@h", Err(UrlError::Port)),
        ("user:p@secret/x@h:5000", Err(UrlError::Path)),
        ("user:p@ss://secret/x@h:5000", Err(UrlError::Path)),
    ];
    for (text, expected) in table {
        let got = text.parse::<RegistryUrl>();
        match (&got, &expected) {
            (Ok(url), Ok(shown)) => assert_eq!(url.to_string(), *shown, "{text}"),
            _ => assert_eq!(got.as_ref().err(), expected.as_ref().err(), "{text}"),
        }
        let told = match &got {
            Ok(url) => format!("{url} {url:?} {:?}", url.credentials()),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!told.contains("sec") && !told.contains("se@ret"), "{text}: {told}");
        assert!(!told.contains('\n'), "{told}");
    }
    let url: RegistryUrl = "http://us%2Der:a%40%3A%25@h".parse().unwrap();
    assert_eq!(url.credentials(), Some(&Credentials::parse("us-er:a@:%").unwrap()));
    assert_eq!(url, "http://h:80/".parse().unwrap());
    assert_ne!(url, "https://h:80/".parse().unwrap());
}

#[test]
fn loopback_is_told_by_its_name() {
    for (text, expected) in [
        ("http://127.255.0.1", true),
        ("http://[::1]", true),
        ("http://LOCALHOST", true),
        ("http://localhost.example.org", false),
        ("http://127.0.0.1.example.org", false),
        ("http://[::ffff:10.0.0.1]", false),
        ("http://10.0.0.1", false),
    ] {
        assert_eq!(text.parse::<RegistryUrl>().unwrap().is_loopback(), expected, "{text}");
    }
}

#[test]
fn base64_as_in_rfc_4648() {
    let table = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("\u{ff}\u{fe}>", "w7/Dvj4="),
    ];
    for (text, expected) in table {
        assert_eq!(base64(text.as_bytes()), expected);
    }
}
