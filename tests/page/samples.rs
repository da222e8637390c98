//! Pages to look at, and to test with: what commands would fill in for registries that do not exist.

use regsweep::finding::{Finding, FindingKind, Severity};
use regsweep::report::Tool;
use regsweep::report::html::{
    Bytes, Cell, Class, Column, ColumnKind, Fact, Image, Month, Node, NodeKind, Order, Page, Table, Tone,
};

/// Names that would do something if they became markup, or that look like something else.
pub(crate) const HOSTILE: [&str; 7] = [
    "<script>window.ran=1</script>",
    "</script><script>window.ran=2</script>",
    "\"><img src=x onerror=window.ran=3>",
    "'-window.ran=4-'",
    "</title></style><svg onload=window.ran=5>",
    "<!--",
    "app\u{202e}gnp.exe",
];

const MIB: u64 = 1 << 20;

/// Numbers by chance that are the same each time (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A size such as images have: many small ones, few large ones.
    fn size(&mut self, smallest: u64, largest: u64) -> u64 {
        let share = self.below(1_000_000) as f64 / 1e6;
        (smallest as f64 * (largest as f64 / smallest as f64).powf(share * share)) as u64 + self.below(1024)
    }
}

/// A repository with so many tags.
fn repository(chance: &mut Chance, name: String, tags: u64) -> Node {
    let base = chance.size(20 * MIB, 900 * MIB);
    let tag = |number: u64| {
        let own = Bytes::of(Class::Live, base / 20 + chance.size(MIB / 4, 60 * MIB));
        let name = if number == 0 { "latest".to_owned() } else { format!("{}.{}.{}", number / 20, number / 5, number) };
        Node::leaf(name, NodeKind::Tag, own)
    };
    let children: Vec<Node> = (0..tags).map(tag).collect();
    let untagged = if chance.below(3) == 0 { chance.size(MIB, 400 * MIB) } else { 0 };
    let garbage = if chance.below(2) == 0 { chance.size(MIB, 900 * MIB) } else { 0 };
    let own = Bytes { live: 0, shared: if tags > 1 { base } else { 0 }, untagged, garbage };
    Node { name, kind: NodeKind::Repository, own, children }
}

fn sum_of(node: &Node) -> Bytes {
    let mut sum = node.own;
    node.children.iter().for_each(|child| sum.add(sum_of(child)));
    sum
}

fn size(bytes: u64) -> String {
    regsweep::report::human::bytes(bytes)
}

/// All that follows from a store: a page with figures that fit each other.
fn page_of(store: Node, findings: &[Finding]) -> Page<'_> {
    let mut chance = Chance(88_172_645_463_325_252);
    let bytes = sum_of(&store);
    let mut months = Vec::new();
    for number in 0..32_u64 {
        // A month without a push is missing, as it would be.
        if number % 11 != 7 {
            let part = |all: u64, chance: &mut Chance| all / 1000 * (number * 2 + chance.below(20));
            months.push(Month {
                month: format!("{}-{:02}", 2024 + (number + 3) / 12, (number + 3) % 12 + 1),
                bytes: Bytes {
                    live: part(bytes.live, &mut chance),
                    shared: part(bytes.shared, &mut chance),
                    untagged: part(bytes.untagged, &mut chance),
                    garbage: part(bytes.garbage, &mut chance),
                },
            });
        }
    }
    let (mut repositories, mut images) = (Vec::new(), Vec::new());
    for namespace in &store.children {
        for repository in namespace.children.iter().filter(|node| node.kind == NodeKind::Repository) {
            let (name, bytes) = (format!("{}/{}", namespace.name, repository.name), sum_of(repository));
            for tag in &repository.children {
                images.push(Image {
                    name: format!("{name}:{}", tag.name),
                    exclusive: tag.own.sum(),
                    total: tag.own.sum() + repository.own.shared,
                    pushed_at: Some(format!("2026-{:02}-{:02}T12:34:56Z", 1 + images.len() % 9, 1 + images.len() % 28)),
                    shared_with: Some(repository.children.len() as u64 - 1),
                });
            }
            let tags = Cell::Count(repository.children.len() as u64);
            let mut row = vec![Cell::Text(name), tags, Cell::Bytes(bytes.sum())];
            row.extend(Class::ALL.map(|class| Cell::Bytes(bytes.get(class))));
            row.push(Cell::Time(format!("2026-{:02}-17T08:00:00Z", 1 + repositories.len() % 11)));
            repositories.push((bytes.sum(), row));
        }
    }
    repositories.sort_by_key(|row| std::cmp::Reverse(row.0));
    images.sort_by_key(|image| std::cmp::Reverse(image.exclusive));
    let mut columns = vec![
        Column::new("Repository", ColumnKind::Text),
        Column::new("Tags", ColumnKind::Count),
        Column::new("All", ColumnKind::Bytes),
    ];
    columns.extend(Class::ALL.map(|class| Column::new(class.title(), ColumnKind::Bytes)));
    columns.push(Column::new("Last push", ColumnKind::Time));
    let reasons = [("unreferenced", 812_u64, 3), ("deleted", 96, 2), ("expired", 1204, 5)];
    let reason = |(reason, blobs, part): (&str, u64, u64)| {
        vec![Cell::Text(reason.to_owned()), Cell::Count(blobs), Cell::Bytes(bytes.garbage / 10 * part)]
    };
    let fact = |label: &str, value: String, tone| Fact { label: label.to_owned(), value, tone };
    Page {
        title: "What is in this registry".to_owned(),
        command: "du".to_owned(),
        root: "/var/lib/registry/docker/registry/v2".to_owned(),
        tool: Tool::THIS,
        made_at: "2026-11-22T03:15:00Z".to_owned(),
        summary: vec![
            fact("In the store", size(bytes.sum()), Tone::Plain),
            fact("A collection would free", size(bytes.garbage), Tone::Plain),
            fact("Repositories", indicatif_count(repositories.len()), Tone::Plain),
            fact("Tags", indicatif_count(images.len()), Tone::Plain),
            fact("Read-only", "proven by the config".to_owned(), Tone::Good),
            fact("Damage", "2 tagged images".to_owned(), Tone::Bad),
        ],
        lead: Vec::new(),
        store: Some(store),
        months,
        images: images.into_iter().take(3000).collect(),
        tables: vec![
            Table {
                caption: "Repositories".to_owned(),
                note: "Shared bytes are counted in one place only, so that the columns add up.".to_owned(),
                columns,
                rows: repositories.into_iter().map(|row| row.1).collect(),
                sorted_by: Some((2, Order::Descending)),
                left_out: None,
            },
            Table {
                caption: "Garbage by reason".to_owned(),
                note: String::new(),
                columns: vec![
                    Column::new("Reason", ColumnKind::Text),
                    Column::new("Blobs", ColumnKind::Count),
                    Column::new("Bytes", ColumnKind::Bytes),
                ],
                rows: reasons.into_iter().map(reason).collect(),
                sorted_by: None,
                left_out: None,
            },
        ],
        findings,
        more_findings: 0,
        advice: vec![
            "Make the registry read-only, then run regsweep gc without --dry-run.".to_owned(),
            "Two tagged images are damaged: push them again, or take them out with regsweep rm.".to_owned(),
        ],
    }
}

fn indicatif_count(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|it| std::str::from_utf8(it).ok()).collect();
    groups.join(",")
}

/// Findings of all severities.
pub(crate) fn findings() -> Vec<Finding> {
    let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let finding = |severity, kind, repository: Option<&str>, path: String, message: &str| Finding {
        severity,
        kind,
        repository: repository.map(str::to_owned),
        path,
        message: message.to_owned(),
    };
    vec![
        finding(
            Severity::Error,
            FindingKind::MissingBlob,
            Some("payments/api"),
            format!("blobs/sha256/9f/{hex}"),
            "a layer of payments/api:2.4.1 is missing: the image cannot be pulled",
        ),
        finding(
            Severity::Error,
            FindingKind::DamagedManifest,
            Some("platform/gateway"),
            format!("blobs/sha256/9f/{hex}/data"),
            "its bytes do not match its digest; everything in the repository is kept",
        ),
        finding(
            Severity::Warning,
            FindingKind::DanglingTag,
            Some("data/ingest"),
            "repositories/data/ingest/_manifests/tags/nightly".to_owned(),
            "its revision link is gone; kept",
        ),
        finding(
            Severity::Info,
            FindingKind::UnknownEntry,
            None,
            "lost+found".to_owned(),
            "not part of a registry; kept",
        ),
    ]
}

/// A registry of a company of some teams.
pub(crate) fn small(findings: &[Finding]) -> Page<'_> {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let teams: [(&str, &[&str]); 5] = [
        ("payments", &["api", "ledger", "worker", "fraud-model"]),
        ("platform", &["gateway", "base-debian", "base-node", "builder", "proxy"]),
        ("data", &["ingest", "warehouse", "notebooks"]),
        ("web", &["storefront", "admin"]),
        ("mirror", &["postgres", "redis", "nginx", "python", "golang", "alpine"]),
    ];
    let mut children = Vec::new();
    for (team, names) in teams {
        let repositories = names.iter().map(|name| {
            let tags = 1 + chance.below(40);
            repository(&mut chance, (*name).to_owned(), tags)
        });
        let mut namespace = Node::group(team, NodeKind::Namespace, repositories.collect());
        namespace.own.shared = chance.size(100 * MIB, 900 * MIB);
        children.push(namespace);
    }
    let mut store = Node::group("", NodeKind::Store, children);
    store.own = Bytes { shared: 2400 * MIB, garbage: 1700 * MIB, ..Bytes::default() };
    page_of(store, findings)
}

/// 5,000 repositories and 100,000 tags.
pub(crate) fn big(findings: &[Finding]) -> Page<'_> {
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let namespace = |number: u64| {
        // Few large namespaces, many small ones; together 5,000 repositories.
        let count = if number < 4 { 600 } else { 52 };
        let names = (0..count).map(|place| {
            let tags = if place % 100 == 0 { 400 } else { 16 };
            repository(&mut chance, format!("service-{place:03}"), tags)
        });
        let mut namespace = Node::group(format!("team-{number:02}"), NodeKind::Namespace, names.collect());
        namespace.own.shared = 4096 * MIB;
        namespace
    };
    let store = Node::group("", NodeKind::Store, (0..54).map(namespace).collect());
    page_of(store, findings)
}

/// A registry whose names are chosen by somebody who wants them to be more than names.
pub(crate) fn hostile(findings: &[Finding]) -> Page<'_> {
    let mut chance = Chance(77);
    let mut children = Vec::new();
    let long = "long-".repeat(40);
    let names: Vec<&str> = HOSTILE.into_iter().chain([long.as_str()]).collect();
    for namespace in names.iter().copied() {
        let repositories = names.iter().map(|name| {
            let mut repository = repository(&mut chance, (*name).to_owned(), 4);
            repository.children.iter_mut().zip(HOSTILE).for_each(|(tag, name)| tag.name = name.to_owned());
            repository
        });
        children.push(Node::group(namespace, NodeKind::Namespace, repositories.collect()));
    }
    let mut page = page_of(Node::group("", NodeKind::Store, children), findings);
    let all = HOSTILE.join(" ");
    page.title.clone_from(&all);
    page.root.clone_from(&all);
    page.advice.push(all.clone());
    page.summary.push(Fact { label: all.clone(), value: all.clone(), tone: Tone::Bad });
    page.months.push(Month { month: all.clone(), bytes: Bytes::of(Class::Garbage, MIB) });
    page.tables[1].caption.clone_from(&all);
    page.tables[1].note.clone_from(&all);
    page.tables[1].columns[0].name = all;
    page
}

/// Findings with such names.
pub(crate) fn hostile_findings() -> Vec<Finding> {
    let finding = |name: &&str| Finding {
        severity: Severity::Warning,
        kind: FindingKind::UnknownEntry,
        repository: Some((*name).to_owned()),
        path: (*name).to_owned(),
        message: (*name).to_owned(),
    };
    HOSTILE.iter().map(finding).collect()
}

/// Nothing at all.
pub(crate) fn empty() -> Page<'static> {
    let mut page = page_of(Node::leaf("", NodeKind::Store, Bytes::default()), &[]);
    page.months.clear();
    page.tables.clear();
    page.advice.clear();
    page
}

/// One blob that nothing needs.
pub(crate) fn one_blob() -> Page<'static> {
    let mut page = page_of(Node::leaf("", NodeKind::Store, Bytes::of(Class::Garbage, 1152)), &[]);
    page.months = vec![Month { month: "2026-11".to_owned(), bytes: Bytes::of(Class::Garbage, 1152) }];
    page.tables.clear();
    page
}
