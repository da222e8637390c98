//! One page, in the macros of man(7).

use clap::{Arg, ArgAction, Command};

use super::about::{ENVIRONMENT, Entry, FILES};
use crate::cli::EXIT_CODES;

/// Whether there is a page of it: not of `help`, which every command has.
pub(super) fn has_page(command: &Command) -> bool {
    command.get_name() != "help" && !command.is_hide_set()
}

/// The commands below this one that have a page.
pub(super) fn commands_of(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| has_page(below))
}

/// The page's name: `regsweep-trash-restore`.
pub(super) fn name(command: &Command) -> String {
    called(command).replace(' ', "-")
}

/// As it is called: `regsweep trash restore`.
pub(super) fn called(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command. `root` is the whole definition, built; `date` stands at the page's foot.
pub(super) fn page(root: &Command, command: &Command, date: &str) -> String {
    let mut page = Page::default();
    let title = escaped(&name(command).to_uppercase());
    let version = root.get_version().unwrap_or_default();
    page.line(&format!(".TH {title} 1 {} \"regsweep {}\" \"User Commands\"", date, escaped(version)));
    page.section("NAME");
    let names: Vec<String> = std::iter::once(name(command))
        .chain(command.get_visible_aliases().map(|alias| format!("{}-{alias}", name(root))))
        .map(|name| escaped(&name))
        .collect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.line(&format!("{} \\-", names.join(", ")));
    page.flowing(about.trim_end_matches('.'));
    page.section("SYNOPSIS");
    synopsis(&mut page, command);
    page.section("DESCRIPTION");
    let long = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    // The first line is the one under NAME.
    page.text(long.split_once("\n\n").map_or(long.as_str(), |(_, rest)| rest));
    if commands_of(command).next().is_some() {
        page.section("COMMANDS");
        for below in commands_of(command) {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            page.item(&format!("\\fB{}\\fR(1)", escaped(&name(below))), &about);
        }
    }
    arguments(&mut page, command);
    page.section("EXIT STATUS");
    for (code, text) in exit_codes() {
        page.item(&format!("\\fB{code}\\fR"), &text);
    }
    entries(&mut page, "ENVIRONMENT", ENVIRONMENT, command);
    entries(&mut page, "FILES", FILES, command);
    if let Some(text) = command.get_after_long_help() {
        examples(&mut page, &text.to_string());
    }
    see_also(&mut page, root, command);
    page.text
}

fn synopsis(page: &mut Page, command: &Command) {
    let mut line = format!("\\fB{}\\fR", escaped(called(command)));
    let is_option = |argument: &&Arg| !argument.is_positional() && !argument.is_hide_set();
    if commands_of(command).next().is_some() {
        line.push_str(" \\fICOMMAND\\fR ...");
    } else {
        // What every command has is no option to speak of.
        if command.get_arguments().filter(is_option).any(|argument| argument.get_id() != "help") {
            line.push_str(" [\\fIOPTIONS\\fR]");
        }
        for argument in command.get_positionals() {
            let value =
                format!("\\fI{}\\fR{}", escaped(&value_of(argument)), if is_many(argument) { "..." } else { "" });
            line.push_str(&if argument.is_required_set() { format!(" {value}") } else { format!(" [{value}]") });
        }
    }
    page.line(&line);
}

fn value_of(argument: &Arg) -> String {
    argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

fn is_many(argument: &Arg) -> bool {
    argument.is_positional() && matches!(argument.get_action(), ArgAction::Append)
}

/// Positional arguments, and options under the headings of the help.
fn arguments(page: &mut Page, command: &Command) {
    let mut positionals = command.get_positionals().peekable();
    if positionals.peek().is_some() {
        page.section("ARGUMENTS");
        positionals.for_each(|argument| one_argument(page, argument));
    }
    let in_order = |heading: Option<&str>| {
        command
            .get_arguments()
            .filter(|argument| !argument.is_positional() && !argument.is_hide_set())
            .filter(move |argument| argument.get_help_heading() == heading)
            .collect::<Vec<&Arg>>()
    };
    page.section("OPTIONS");
    in_order(None).into_iter().for_each(|argument| one_argument(page, argument));
    let mut headings: Vec<&str> = Vec::new();
    for argument in command.get_arguments() {
        if let Some(heading) = argument.get_help_heading().filter(|heading| !headings.contains(heading)) {
            headings.push(heading);
        }
    }
    for heading in headings {
        page.line(&format!(".SS {}", quoted(heading)));
        in_order(Some(heading)).into_iter().for_each(|argument| one_argument(page, argument));
    }
}

fn one_argument(page: &mut Page, argument: &Arg) {
    let mut tag: Vec<String> = Vec::new();
    tag.extend(argument.get_short().map(|short| format!("\\fB\\-{short}\\fR")));
    tag.extend(argument.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", escaped(long))));
    let mut tag = tag.join(", ");
    if argument.is_positional() || argument.get_action().takes_values() {
        let space = if tag.is_empty() { "" } else { " " };
        tag.push_str(&format!("{space}\\fI{}\\fR", escaped(&value_of(argument))));
        if is_many(argument) {
            tag.push_str(" ...");
        }
    }
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    // How the help can be had is no news in a manual.
    let help = if argument.get_id() == "help" { "Print the help: a summary with -h" } else { &help };
    page.item(&tag, help);
    if argument.get_action().takes_values() {
        let values: Vec<_> = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
        if !values.is_empty() && !argument.is_hide_possible_values_set() {
            page.line(".RS");
            for value in values {
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                page.item(&format!("\\fB{}\\fR", escaped(value.get_name())), &help);
            }
            page.line(".RE");
        }
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if !defaults.is_empty() && !argument.is_hide_default_value_set() {
            page.line(".IP");
            page.flowing(&format!("Default: {}.", defaults.join(" ")));
        }
    }
}

/// The exit codes and what they mean, from the text of the help.
fn exit_codes() -> Vec<(char, String)> {
    let mut codes: Vec<(char, String)> = Vec::new();
    for line in EXIT_CODES.lines().skip(1) {
        let (head, text) = line.split_at(line.len().min(5));
        match (head.trim().chars().next(), codes.last_mut()) {
            (Some(code), _) => codes.push((code, text.to_owned())),
            (None, Some((_, before))) => before.push_str(&format!(" {text}")),
            (None, None) => {}
        }
    }
    codes
}

fn entries(page: &mut Page, title: &str, all: &[Entry], command: &Command) {
    let mut entries = all.iter().filter(|entry| entry.is_about(command)).peekable();
    if entries.peek().is_some() {
        page.section(title);
        entries.for_each(|entry| page.item(&format!("\\fB{}\\fR", escaped(entry.name)), entry.text));
    }
}

/// The examples of the help: what each is for, and below it, four spaces in, its commands.
fn examples(page: &mut Page, text: &str) {
    page.section("EXAMPLES");
    let mut is_command = false;
    let mut words = Vec::new();
    // Before them the page of regsweep itself has the exit codes, which are a section of their own.
    for line in text.lines().skip_while(|line| *line != "Examples:").skip(1).chain([""]) {
        let command = line.strip_prefix("    ");
        if command.is_some() != is_command && !(command.is_none() && line.is_empty() && !is_command) {
            page.flowing(&std::mem::take(&mut words).join(" "));
            for line in if is_command { &[".EE", ".RE", ".PP"][..] } else { &[".PP", ".RS 4", ".EX"] } {
                page.line(line);
            }
            is_command = command.is_some();
        }
        match command {
            Some(command) => page.line(&escaped_line(command)),
            None if line.is_empty() => {}
            None => words.push(line.trim()),
        }
    }
    page.flowing(&words.join(" "));
    if page.text.ends_with(".PP\n") {
        page.text.truncate(page.text.len() - ".PP\n".len());
    }
}

/// The pages around this one: what it belongs to, what belongs to it, and what belongs to the same.
fn see_also(page: &mut Page, root: &Command, command: &Command) {
    let mut names = vec![name(root)];
    let mut parent = root;
    loop {
        names.extend(commands_of(parent).map(name));
        let own = name(command);
        let below = |it: &&Command| own != name(it) && own.starts_with(&format!("{}-", name(it)));
        match commands_of(parent).find(below) {
            Some(closer) => parent = closer,
            None => break,
        }
    }
    names.retain(|other| *other != name(command));
    page.section("SEE ALSO");
    let names: Vec<String> = names.iter().map(|name| format!("\\fB{}\\fR(1)", escaped(name))).collect();
    page.line(&names.join(",\n"));
}

/// The text of a page as it grows.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A line of macros, or one that is escaped already.
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line(&format!(".SH {}", quoted(title)));
    }

    /// Paragraphs, which empty lines part.
    fn text(&mut self, text: &str) {
        for (number, paragraph) in text.split("\n\n").enumerate() {
            if number > 0 {
                self.line(".PP");
            }
            self.paragraph(paragraph, 4);
        }
    }

    /// A paragraph with a tag before it, and further ones below.
    fn item(&mut self, tag: &str, text: &str) {
        self.line(".TP");
        self.line(tag);
        for (number, paragraph) in text.split("\n\n").enumerate() {
            if number > 0 {
                self.line(".IP");
            }
            // As far in as the text is, and four more.
            self.paragraph(paragraph, 11);
        }
    }

    /// Lines that flow together, but for those that are further in: these stay as they are, `inset` letters in.
    fn paragraph(&mut self, paragraph: &str, inset: usize) {
        let mut lines = paragraph.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(example) = line.strip_prefix("  ") else {
                self.flowing(line);
                continue;
            };
            self.line(&format!(".RS {inset}"));
            self.line(".EX");
            self.line(&escaped_line(example));
            while let Some(example) = lines.next_if(|line| line.starts_with("  ")) {
                self.line(&escaped_line(&example[2..]));
            }
            self.line(".EE");
            self.line(".RE");
        }
    }

    /// Words that flow, in lines that are short enough for every reader of pages.
    fn flowing(&mut self, text: &str) {
        const MOST: usize = 78;
        let mut line = String::new();
        for word in text.split_whitespace() {
            let word = escaped(word);
            if !line.is_empty() && line.len() + 1 + word.len() > MOST {
                self.line(&guarded(&line));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        if !line.is_empty() {
            self.line(&guarded(&line));
        }
    }
}

/// A text in which nothing has a meaning to roff.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A line as it is, in which nothing has a meaning to roff.
fn escaped_line(line: &str) -> String {
    guarded(&escaped(line))
}

/// At the beginning of a line a dot begins a macro.
fn guarded(line: &str) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() }
}

/// One argument of a macro.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\(dq"))
}
