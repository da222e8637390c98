//! What a page of the manual says beyond the help: the environment and the files, as far as a command has to do with
//! them.

/// What a variable or a file is to a command.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    concerns: Concerns,
}

/// Which commands it concerns: told by what they take, so that a new command has its page right.
#[derive(Clone, Copy)]
enum Concerns {
    /// Those that are given a registry.
    Registry,
    /// Those with one of these arguments.
    Arguments(&'static [&'static str]),
    /// The one with this name.
    Command(&'static str),
}

impl Entry {
    /// Whether the page of the command has it; the page of regsweep itself has all.
    pub(super) fn is_about(&self, command: &clap::Command) -> bool {
        let has = |id: &str| command.get_arguments().any(|argument| argument.get_id() == id);
        command.get_name() == "regsweep"
            || match self.concerns {
                Concerns::Registry => has("registry"),
                Concerns::Arguments(ids) => ids.iter().any(|id| has(id)),
                Concerns::Command(name) => command.get_name() == name,
            }
    }
}

pub(super) const ENVIRONMENT: &[Entry] = &[
    Entry {
        name: "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY, REGISTRY_STORAGE_MAINTENANCE_READONLY, REGISTRY_...",
        text: "The registry's own variables. Where its config.yml is read they override it as they do in the registry; \
               so run regsweep in the environment that the registry has.",
        concerns: Concerns::Registry,
    },
    Entry {
        name: "REGSWEEP_REGISTRY_AUTH",
        text: "user:password for a registry that wants credentials when it is asked whether it is read-only. They are \
               never printed.",
        concerns: Concerns::Arguments(&["registry_url", "url"]),
    },
    Entry {
        name: "SSL_CERT_FILE, SSL_CERT_DIR",
        text: "Certificates to trust in place of the system's, where the registry is asked over https.",
        concerns: Concerns::Arguments(&["registry_url", "url"]),
    },
    Entry {
        name: "STATE_DIRECTORY, XDG_STATE_HOME, HOME",
        text: "Where the file lies that remembers how far the last reading came, unless --position names it.",
        concerns: Concerns::Arguments(&["position"]),
    },
    Entry {
        name: "TZ",
        text: "The time zone of --until, if it is not the machine's.",
        concerns: Concerns::Arguments(&["until"]),
    },
    Entry {
        name: "NO_COLOR",
        text: "If it is set and not empty, nothing is printed in colour or bold. So with TERM=dumb, and where standard \
               output is no terminal.",
        concerns: Concerns::Registry,
    },
    Entry {
        name: "SOURCE_DATE_EPOCH",
        text: "The time, in seconds since 1970, whose day stands on the pages.",
        concerns: Concerns::Command("man"),
    },
];

pub(super) const FILES: &[Entry] = &[
    Entry {
        name: "/etc/docker/registry/config.yml",
        text: "Where Debian's package and the registry's images up to 2.8 keep the config; from 3.0 on it is \
               /etc/distribution/config.yml. It is only read.",
        concerns: Concerns::Registry,
    },
    Entry {
        name: "/var/lib/registry",
        text: "Where a registry keeps its data unless its config says otherwise.",
        concerns: Concerns::Registry,
    },
    Entry {
        name: "docker/registry/v2/_regsweep",
        text: "Below REGISTRY: the lock, and a folder for each run with its journal and its trash. Only commands that \
               change the registry write there.",
        concerns: Concerns::Registry,
    },
];
