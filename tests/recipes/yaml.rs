//! YAML as JSON, for tests: every document of a text.

use granit_parser::{Event, Parser};
use serde_json::{Map, Value};

/// The documents of a text. Plain scalars become what they look like, quoted ones stay texts; no anchors, no tags.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        events.push(event.unwrap_or_else(|error| panic!("{error}\n{text}")).0);
    }
    let mut events = events.into_iter().peekable();
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        if matches!(event, Event::DocumentStart(..)) {
            let first = events.next().unwrap();
            documents.push(value(first, &mut events));
        }
    }
    documents
}

fn value<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, style, ..) => {
            let is_plain = matches!(style, granit_parser::ScalarStyle::Plain);
            let read = if is_plain { serde_json::from_str::<Value>(&text).ok() } else { None };
            read.unwrap_or_else(|| Value::String(text.into_owned()))
        }
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Value::Array(list),
                    event => list.push(value(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                match events.next().unwrap() {
                    Event::MappingEnd => return Value::Object(map),
                    key => {
                        let Value::String(key) = value(key, events) else { panic!("a key that is no text") };
                        let first = events.next().unwrap();
                        let value = value(first, events);
                        assert!(map.insert(key.clone(), value).is_none(), "{key} is there twice");
                    }
                }
            }
        }
        other => panic!("nothing that these files need: {other:?}"),
    }
}
