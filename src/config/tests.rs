//! Each line that begins with "seen" was tried with docker-registry 2.8.2 on 127.0.0.1: the config and the
//! variables as they stand here, then `PUT /v2/a/manifests/b` with an empty body.

use super::*;

const FILE: &str = "version: 0.1\nhttp: {addr: 127.0.0.1:5000}\nstorage:\n  filesystem: {rootdirectory: /data}\n";
const HEAD: &str = "version: 0.1\nhttp: {addr: 127.0.0.1:5000}\n";

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<RegistryConfig, ConfigError> {
    let environment: Vec<_> = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    RegistryConfig::parse(text.as_bytes(), &environment)
}

fn below_maintenance(text: &str) -> String {
    format!("{FILE}  maintenance: {text}\n")
}

#[test]
fn read_only_counts_where_the_registry_starts_in_read_only_mode() {
    let table: &[(bool, &str)] = &[
        // seen: 405
        (true, "{readonly: {enabled: true}}"),
        (true, "{readonly: {enabled: yes}}"),
        (true, "{readonly: {enabled: on}}"),
        (true, "{readonly: {enabled: Y}}"),
        (true, "{readonly: {enabled: !!bool true}}"),
        (true, "{uploadpurging: {enabled: false}, readonly: {enabled: true}}"),
        (true, "\n    readonly:\n      enabled: true"),
        // seen: 400
        (false, "{readonly: {enabled: false}}"),
        (false, "{readonly: {enabled: off}}"),
        (false, "{readonly: {Enabled: true}}"),
        (false, "{readonly: {}}"),
        (false, ""),
        (false, "{}"),
    ];
    for (expected, text) in table {
        let config = parse(&below_maintenance(text), &[]).unwrap();
        assert_eq!(config.read_only, *expected, "{text}");
        assert_eq!(config.read_only_source.is_some(), *expected, "{text}");
        assert!(config.notes.is_empty(), "{text}: {:?}", config.notes);
    }
    let config = parse(&below_maintenance("\n    readonly:\n      enabled: yes"), &[]).unwrap();
    assert_eq!(config.read_only_source.as_deref(), Some("storage.maintenance.readonly.enabled: yes (line 7)"));
}

#[test]
fn what_the_registry_panics_on_proves_nothing_and_is_told() {
    // seen: panic at start, each of them
    for text in [
        "{readonly: {enabled: 'true'}}",
        "{readonly: {enabled: \"true\"}}",
        "{readonly: {enabled: tRue}}",
        "{readonly: {enabled: 1}}",
        "{readonly: {enabled: ~}}",
        "{readonly: {enabled: }}",
        "{readonly: {enabled: !!str true}}",
        "{readonly: true}",
        "{readonly: [enabled]}",
        "{readonly: }",
        "{uploadpurging: false, readonly: {enabled: true}}",
        "{uploadpurging: {enabled: true}, readonly: {enabled: true}}",
    ] {
        let config = parse(&below_maintenance(text), &[]).unwrap();
        assert!(!config.read_only, "{text}");
        assert_eq!(config.notes.len(), 1, "{text}: {:?}", config.notes);
        assert!(config.notes[0].contains("panics at start"), "{text}: {:?}", config.notes);
    }
}

#[test]
fn variables_count_as_the_registry_counts_them() {
    const READONLY: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY";
    const MAINTENANCE: &str = "REGISTRY_STORAGE_MAINTENANCE";
    const ENABLED: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";
    const PURGING: &str = "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED";
    let on = below_maintenance("{readonly: {enabled: true}}");
    let off = below_maintenance("{readonly: {enabled: false}}");
    let purging = below_maintenance(
        "{uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}, readonly: {enabled: true}}",
    );
    let json = "{\"enabled\":true}";
    // (file, variables, read-only, notes)
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, usize);
    let table: &[Row<'_>] = &[
        // seen: 405
        (FILE, &[(READONLY, json)], true, 0),
        (FILE, &[(READONLY, "enabled: yes")], true, 0),
        (FILE, &[("REGISTRY_STORAGE_MAINTENANCE_readonly", json)], true, 0),
        (FILE, &[(READONLY, "{\"enabled\":true}\n---\n{\"enabled\":false}")], true, 0),
        (FILE, &[(MAINTENANCE, "{\"readonly\":{\"enabled\":true}}")], true, 0),
        (&off, &[(READONLY, json)], true, 0),
        (
            FILE,
            &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /data}, maintenance: {readonly: {enabled: on}}}")],
            true,
            0,
        ),
        (&purging, &[(PURGING, "false")], true, 0),
        (&on, &[(ENABLED, "true")], true, 1),
        // seen: 400; the variable is ignored
        (&off, &[(ENABLED, "true")], false, 1),
        // seen: panic at start
        (FILE, &[(ENABLED, "true")], false, 2),
        (FILE, &[(READONLY, "true")], false, 1),
        (&on, &[(READONLY, "")], false, 1),
        (FILE, &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_", "x")], false, 2),
        (&on, &[(PURGING, "false")], false, 1),
        // seen: 400; the whole section is replaced
        (&on, &[(MAINTENANCE, "")], false, 0),
        (&on, &[(MAINTENANCE, "null")], false, 0),
        (&on, &[(MAINTENANCE, "{}")], false, 0),
        (&on, &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /data}}")], false, 0),
        // seen: 405, the variable is ignored. Still no proof: somebody wanted it off.
        (&on, &[(ENABLED, "false")], false, 2),
        (FILE, &[(READONLY, json), (ENABLED, "false")], false, 2),
        // seen: 400 after a warning in the log; names that lead nowhere
        (
            FILE,
            &[("REGISTRY_PORT", "tcp://10.0.0.1:5000"), ("REGISTRY_", "[x"), ("REGISTRY_SERVICE_HOST", "1")],
            false,
            0,
        ),
        (FILE, &[("registry_storage", "s3"), ("OTHER_STORAGE", "s3")], false, 0),
    ];
    for (text, environment, expected, notes) in table {
        let config = parse(text, environment).unwrap();
        assert_eq!(config.read_only, *expected, "{environment:?}");
        assert_eq!(config.notes.len(), *notes, "{environment:?}: {:?}", config.notes);
        assert_eq!(config.root_directory, Path::new("/data"), "{environment:?}");
    }
    let config = parse(FILE, &[(READONLY, json)]).unwrap();
    let source = "storage.maintenance.readonly.enabled: true (REGISTRY_STORAGE_MAINTENANCE_READONLY)";
    assert_eq!(config.read_only_source.as_deref(), Some(source));
}

#[test]
fn a_config_that_can_be_read_in_two_ways_is_refused() {
    let on = below_maintenance("{readonly: {enabled: true}}");
    for text in [
        // seen: the last one wins, 400 and 405
        below_maintenance("{readonly: {enabled: true, enabled: false}}"),
        below_maintenance("{readonly: {enabled: false, enabled: true}}"),
        // seen: 400, the second section replaces the first
        format!("{on}  maintenance: {{uploadpurging: {{enabled: false}}}}\n"),
        format!("{on}storage: {{filesystem: {{rootdirectory: /data}}}}\n"),
        // seen: the second `http` is merged into the first
        format!("{FILE}http: {{prefix: /x}}\n"),
        // seen: 405, the later << wins; the YAML merge type says 400
        format!("x: &on {{enabled: true}}\n{}", below_maintenance("{readonly: {enabled: false, <<: *on}}")),
    ] {
        assert!(matches!(parse(&text, &[]), Err(ConfigError::NotYaml { .. })), "{text}");
    }
}

#[test]
fn anchors_and_merge_keys_count() {
    for (expected, text) in [
        // seen: 405, 405, 400, 405
        (true, "x: &on {enabled: true}\nstorage: {filesystem: {rootdirectory: /data}, maintenance: {readonly: *on}}\n"),
        (
            true,
            "x: &on {enabled: true}\nstorage: {filesystem: {rootdirectory: /data}, maintenance: {readonly: {<<: \
             *on}}}\n",
        ),
        (
            false,
            "x: &on {enabled: true}\nstorage: {filesystem: {rootdirectory: /data}, maintenance: {readonly: {<<: \
             *on, enabled: false}}}\n",
        ),
        (
            true,
            "x: &on {maintenance: {readonly: {enabled: true}}}\nstorage: {filesystem: {rootdirectory: /data}, \
             <<: *on}\n",
        ),
    ] {
        assert_eq!(parse(&format!("{HEAD}{text}"), &[]).unwrap().read_only, expected, "{text}");
    }
}

#[test]
fn root_directory() {
    const ROOT: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let table: &[Row<'_>] = &[
        ("storage: {filesystem: {rootdirectory: /data}}", &[], "/data"),
        ("storage: {filesystem: {rootdirectory: '/da ta'}}", &[], "/da ta"),
        ("storage: {filesystem: {rootdirectory: /data}}", &[(ROOT, "/other")], "/other"),
        (
            "storage: {filesystem: {rootdirectory: /data}}",
            &[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: /o}")],
            "/o",
        ),
        ("storage: {filesystem: {rootdirectory: /data}}", &[("REGISTRY_STORAGE", "filesystem"), (ROOT, "/o")], "/o"),
        ("storage: filesystem", &[], "/var/lib/registry"),
        ("storage: {filesystem: }", &[], "/var/lib/registry"),
        ("storage: {filesystem: {}}", &[("REGISTRY_STORAGE_FILESYSTEM", "")], "/var/lib/registry"),
        ("storage: {filesystem: }", &[(ROOT, "/data")], "/data"),
        ("storage: inmemory", &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /data}}")], "/data"),
        ("storage: {s3: {bucket: x}}", &[("REGISTRY_STORAGE", "filesystem")], "/var/lib/registry"),
        (
            "storage: {filesystem: {rootdirectory: /data}, cache: {blobdescriptor: inmemory}, delete: {enabled: \
             true}, redirect: {disable: true}, tag: {concurrencylimit: 5}}",
            &[],
            "/data",
        ),
    ];
    for (text, environment, expected) in table {
        let config = parse(&format!("{HEAD}{text}\n"), environment).unwrap();
        assert_eq!(config.root_directory, Path::new(expected), "{text} {environment:?}");
        assert!(config.notes.is_empty(), "{text}: {:?}", config.notes);
    }
    let config = parse(&format!("{HEAD}storage: {{filesystem: {{rootdirectory: data}}}}\n"), &[]).unwrap();
    assert!(config.notes[0].contains("relative"), "{:?}", config.notes);
}

#[test]
fn what_is_refused_is_refused_in_one_line() {
    const BUCKET: &[(&str, &str)] = &[("REGISTRY_STORAGE_S3_BUCKET", "x")];
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let on = below_maintenance("{readonly: {enabled: true}}");
    let table: &[Row<'_>] = &[
        // seen: the registry refuses or panics, unless the comment says otherwise
        ("", &[], "version: 0.1 was expected, not \"\""),
        ("storage: filesystem\n", &[], "version: 0.1 was expected"),
        ("version: 0.2\nstorage: filesystem\n", &[], "not \"0.2\""),
        ("version: 0.10\nstorage: filesystem\n", &[], "not \"0.10\""),
        ("- a\n", &[], "the file: a mapping was expected, not a list"),
        (HEAD, &[], "no driver"),
        ("version: 0.1\nStorage: filesystem\n", &[], "no driver"),
        ("version: 0.1\nstorage: {maintenance: {readonly: {enabled: true}}}\n", &[], "no driver"),
        (FILE, &[("REGISTRY_STORAGE", "")], "no driver"),
        ("version: 0.1\nstorage: {filesystem: {}, inmemory: {}}\n", &[], "several drivers (filesystem, inmemory)"),
        ("version: 0.1\nstorage: {filesystem: {}, s3: {}}\n", &[("REGISTRY_STORAGE", "filesystem")], "several drivers"),
        (FILE, BUCKET, "several drivers (filesystem, s3)"),
        (FILE, &[("REGISTRY_STORAGE_INMEMORY", "")], "several drivers (filesystem, inmemory)"),
        // a registry with s3 would start with this; regsweep has nothing to do there
        (FILE, &[("REGISTRY_STORAGE", "s3")], "the driver is `s3`"),
        ("version: 0.1\nstorage: {Filesystem: {rootdirectory: /data}}\n", &[], "the driver is `Filesystem`"),
        ("version: 0.1\nstorage: {filesystem: /data}\n", &[], "storage.filesystem: a mapping was expected"),
        (
            "version: 0.1\nstorage: {filesystem: {}, maintenance: true}\n",
            &[],
            "storage.maintenance: a mapping was expected, not `true`",
        ),
        (&on, &[("REGISTRY_STORAGE_MAINTENANCE", "abc")], "REGISTRY_STORAGE_MAINTENANCE: a mapping was expected"),
        (&on, &[("REGISTRY_STORAGE_", "x")], "REGISTRY_STORAGE_: a mapping was expected"),
        (
            FILE,
            &[("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\":true")],
            "REGISTRY_STORAGE_MAINTENANCE_READONLY, line 1",
        ),
        (FILE, &[("REGISTRY_HTTP_ADDR", "[::]:5000")], "REGISTRY_HTTP_ADDR"),
        ("version: 0.1\nhttp: foo\nstorage: filesystem\n", &[], "http: a mapping was expected"),
        ("version: 0.1\nstorage:\n  filesystem:\n\trootdirectory: /data\n", &[], "line 4"),
        // the registry starts and keeps its files in a folder `<nil>` or `8`
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: }}\n", &[], "a path was expected, not nothing"),
        (FILE, &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "")], "a path was expected, not nothing"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: 010}}\n", &[], "a path was expected, not `010`"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: ''}}\n", &[], "a path was expected"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: [/data]}}\n", &[], "a path was expected, not a list"),
    ];
    for (text, environment, expected) in table {
        let message = parse(text, environment).unwrap_err().to_string();
        assert!(message.contains(expected), "{text:?} {environment:?}: {message}");
        assert!(!message.contains('\n'), "{message:?}");
    }
    let message = RegistryConfig::parse(b"version: \xff\n", &[]).unwrap_err().to_string();
    assert!(message.contains("not UTF-8 at byte 9"), "{message}");
}

#[test]
fn no_name_or_value_can_forge_a_line() {
    for (name, value) in [
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY_\u{1b}[31m\nENABLED", "x"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY_\u{202e}X", "x"),
        ("REGISTRY_STORAGE_\nX", "[x"),
        ("REGISTRY_STORAGE_\u{202e}X", "[x"),
        ("REGISTRY_STORAGE", "{\"\\n\": x}"),
        ("REGISTRY_HTTP_ADDR", "\u{202e}host:0"),
        ("REGISTRY_HTTP_ADDR", "\u{61c}host\u{9b}:0"),
    ] {
        let lines = match parse(FILE, &[(name, value)]) {
            Ok(config) => config.notes,
            Err(error) => vec![error.to_string()],
        };
        assert!(!lines.is_empty(), "{name:?} {value:?}");
        for line in lines {
            assert!(!line.contains(crate::layout::is_unsafe_to_show), "{line:?}");
        }
    }
}

#[test]
fn the_address_becomes_a_url() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let table: &[Row<'_>] = &[
        ("{addr: ':5000'}", &[], Some("http://127.0.0.1:5000")),
        ("{addr: 0.0.0.0:5000}", &[], Some("http://127.0.0.1:5000")),
        ("{addr: '[::]:5000'}", &[], Some("http://127.0.0.1:5000")),
        ("{addr: '[::1]:5000'}", &[], Some("http://[::1]:5000")),
        ("{addr: localhost:5000, net: tcp}", &[], Some("http://localhost:5000")),
        ("{addr: 10.0.0.1:80, prefix: /x/}", &[], Some("http://10.0.0.1:80/x")),
        ("{addr: ':5000', prefix: /}", &[], Some("http://127.0.0.1:5000")),
        ("{addr: ':5000', tls: {certificate: /c, key: /k}}", &[], Some("https://127.0.0.1:5000")),
        ("{addr: ':5000', tls: {letsencrypt: {cachefile: /c}}}", &[], Some("https://127.0.0.1:5000")),
        ("{addr: ':5000', tls: {minimumtls: tls1.2}}", &[], Some("http://127.0.0.1:5000")),
        ("{addr: ':1'}", &[("REGISTRY_HTTP_ADDR", ":5000")], Some("http://127.0.0.1:5000")),
        ("{addr: ':1'}", &[("REGISTRY_HTTP", "{addr: ':5000'}")], Some("http://127.0.0.1:5000")),
        (
            "",
            &[("REGISTRY_HTTP_ADDR", ":5000"), ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c")],
            Some("https://127.0.0.1:5000"),
        ),
        ("{addr: ':5', tls: {certificate: /c}}", &[("REGISTRY_HTTP_TLS", "{key: /k}")], Some("http://127.0.0.1:5")),
        ("{addr: ':5'}", &[("REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE", "/c")], Some("https://127.0.0.1:5")),
        (
            "{addr: ':5'}",
            &[("REGISTRY_HTTP_PREFIX", "/p"), ("REGISTRY_HTTP_ADDR_X", "[x")],
            Some("http://127.0.0.1:5/p"),
        ),
        ("{addr: /run/r.sock, net: unix}", &[], None),
        // seen: the registry refuses this one at start
        ("{addr: ':5000', net: tcp4}", &[], None),
        ("{addr: ':0'}", &[], None),
        ("{addr: ':http'}", &[], None),
        ("{addr: 'a b:5'}", &[], None),
        ("{addr: 'u:p@h:5'}", &[], None),
        ("{addr: '::1:5'}", &[], None),
        ("{addr: ':5', prefix: x}", &[], None),
        ("{addr: ':5', prefix: '/x?y'}", &[], None),
        ("{Addr: ':5'}", &[], None),
        ("", &[], None),
    ];
    for (text, environment, expected) in table {
        let config = parse(&format!("version: 0.1\nstorage: filesystem\nhttp: {text}\n"), environment).unwrap();
        assert_eq!(config.http_url.as_deref(), *expected, "{text} {environment:?}");
        assert_eq!(config.notes.is_empty(), expected.is_some(), "{text}: {:?}", config.notes);
    }
}

#[test]
fn a_pull_through_cache_is_seen() {
    let proxy = format!("{FILE}proxy: {{remoteurl: 'https://registry.example.org'}}\n");
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let table: &[Row<'_>] = &[
        (FILE, &[], None),
        (&proxy, &[], Some("https://registry.example.org")),
        (FILE, &[("REGISTRY_PROXY_REMOTEURL", "https://r.example.org")], Some("https://r.example.org")),
        (FILE, &[("REGISTRY_PROXY", "{remoteurl: 'https://r.example.org'}")], Some("https://r.example.org")),
        (&proxy, &[("REGISTRY_PROXY_REMOTEURL", "")], None),
        (&proxy, &[("REGISTRY_PROXY_USERNAME", "u")], Some("https://registry.example.org")),
    ];
    for (text, environment, expected) in table {
        assert_eq!(parse(text, environment).unwrap().proxy_remote_url.as_deref(), *expected, "{environment:?}");
    }
}

#[test]
fn a_file_is_read_up_to_its_limit_and_errors_name_it() {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(FILE.as_bytes()).unwrap();
    assert_eq!(RegistryConfig::read(file.path()).unwrap().root_directory, Path::new("/data"));
    file.write_all("#".repeat(1024 * 1024).as_bytes()).unwrap();
    let message = RegistryConfig::read(file.path()).unwrap_err().to_string();
    assert!(message.contains("larger than 1 MiB"), "{message}");
    let missing = RegistryConfig::read(Path::new("/nonexistent/config.yml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nonexistent/config.yml: cannot be read"), "{missing}");
    let folder = RegistryConfig::read(Path::new("/")).unwrap_err().to_string();
    assert!(folder.starts_with("/: cannot be read"), "{folder}");
    let mut other = tempfile::NamedTempFile::new().unwrap();
    other.write_all(b"version: 0.1\n").unwrap();
    let message = RegistryConfig::read(other.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("{}: storage: no driver", other.path().display())), "{message}");
}
