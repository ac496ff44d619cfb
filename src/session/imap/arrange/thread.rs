//! THREAD (RFC 5256 3): ORDEREDSUBJECT, REFERENCES, and REFS, which is REFERENCES without the merging by subject.
//! No recursion: a thread may be as deep as the mailbox is large.

mod references;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;

use super::Facts;
use crate::session::imap::write;

/// Steps along references that one command may take: a chain of *n* messages costs *n*²/2.
pub const THREAD_STEPS_MAX: u64 = 100_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    OrderedSubject,
    References,
    Refs,
}

/// A message to be put in a thread.
#[derive(Debug, Clone)]
pub struct Threadable {
    /// Its message number or UID, as it is to be written. They ascend.
    pub number: u32,
    /// Seconds since 1970 UTC: the Date field, or else when it came.
    pub sent: i64,
    pub facts: Arc<Facts>,
}

/// The threads, as a forest.
#[derive(Debug, Default)]
pub struct Forest {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    /// Place among the messages; `None` stands for one that is not there.
    message: Option<usize>,
    children: Vec<usize>,
}

/// References go round in too many steps.
#[derive(Debug, PartialEq, Eq)]
pub struct TooDeep;

pub fn thread(algorithm: Algorithm, messages: &[Threadable]) -> Result<Forest, TooDeep> {
    match algorithm {
        Algorithm::OrderedSubject => Ok(by_subject(messages)),
        Algorithm::References => references::thread(messages, true),
        Algorithm::Refs => references::thread(messages, false),
    }
}

fn by_subject(messages: &[Threadable]) -> Forest {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|at| (messages[*at].sent, *at));
    let mut forest = Forest::default();
    let mut first: HashMap<&str, usize> = HashMap::new();
    for at in order {
        let node = forest.nodes.len();
        forest.nodes.push(Node { message: Some(at), children: Vec::new() });
        let root = *first.entry(&messages[at].facts.subject).or_insert(node);
        if root == node {
            forest.roots.push(node);
        } else {
            forest.nodes[root].children.push(node);
        }
    }
    forest
}

impl Forest {
    /// `(1 2 (3)(4 5))(6)`.
    pub fn write(&self, messages: &[Threadable], out: &mut BytesMut) {
        enum Next {
            Node(usize),
            Text(&'static [u8]),
        }
        let mut stack: Vec<Next> = Vec::new();
        let in_parentheses = |nodes: &[usize], stack: &mut Vec<Next>| {
            for node in nodes.iter().rev() {
                stack.extend([Next::Text(b")"), Next::Node(*node), Next::Text(b"(")]);
            }
        };
        in_parentheses(&self.roots, &mut stack);
        while let Some(next) = stack.pop() {
            let node = match next {
                Next::Text(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Next::Node(node) => &self.nodes[node],
            };
            if let Some(message) = node.message {
                write::number(messages[message].number, out);
                if !node.children.is_empty() {
                    out.extend_from_slice(b" ");
                }
            }
            match node.children.as_slice() {
                [only] if node.message.is_some() => stack.push(Next::Node(*only)),
                children => in_parentheses(children, &mut stack),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(algorithm: Algorithm, mail: &[&str]) -> String {
        let messages: Vec<Threadable> = (1..)
            .zip(mail)
            .map(|(number, raw)| {
                let facts = Arc::new(Facts::of(raw.replace(" | ", "\n").as_bytes()));
                Threadable { number, sent: facts.sent.unwrap_or(i64::from(number)), facts }
            })
            .collect();
        let mut out = BytesMut::new();
        thread(algorithm, &messages).unwrap().write(&messages, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    const REFERENCES: Algorithm = Algorithm::References;

    #[test]
    fn by_subject() {
        let mail = ["Subject: a", "Subject: b", "Subject: Re: a", "Subject: [x] A (fwd)", "Subject: re: B"];
        assert_eq!(threads(Algorithm::OrderedSubject, &mail), "(1 (3)(4))(2 5)");
        assert_eq!(threads(Algorithm::OrderedSubject, &[]), "");
    }

    #[test]
    fn by_references() {
        let chain =
            ["Message-ID: <1>", "Message-ID: <2> | References: <1>", "Message-ID: <3> | References: <1> <2>"];
        assert_eq!(threads(REFERENCES, &chain), "(1 2 3)");
        let fork = ["Message-ID: <1>", "In-Reply-To: <1>", "References: <1>"];
        assert_eq!(threads(REFERENCES, &fork), "(1 (2)(3))");
        let absent = ["References: <0>", "References: <0>"];
        assert_eq!(threads(REFERENCES, &absent), "((1)(2))");
        assert_eq!(threads(REFERENCES, &["References: <0> <9>"]), "(1)");
        let backwards = ["Message-ID: <2> | References: <1>", "Message-ID: <1>"];
        assert_eq!(threads(REFERENCES, &backwards), "(2 1)");
    }

    #[test]
    fn references_that_go_round() {
        let round = ["Message-ID: <1> | References: <2>", "Message-ID: <2> | References: <1>"];
        assert_eq!(threads(REFERENCES, &round), "(2 1)");
        assert_eq!(threads(REFERENCES, &["Message-ID: <1> | References: <1>"]), "(1)");
        let twice = ["Message-ID: <1>", "Message-ID: <1>", "References: <1>"];
        assert_eq!(threads(REFERENCES, &twice), "(1 3)(2)");
    }

    #[test]
    fn what_has_lost_its_references_is_joined_by_subject() {
        let mail = ["Subject: a", "Subject: Re: a", "Subject: a", "Subject: b"];
        assert_eq!(threads(REFERENCES, &mail[..2]), "(1 2)");
        assert_eq!(threads(REFERENCES, &mail), "((1 2)(3))(4)");
        assert_eq!(threads(Algorithm::Refs, &mail), "(1)(2)(3)(4)");
        let replies = ["Subject: Re: a", "Subject: Re: a"];
        assert_eq!(threads(REFERENCES, &replies), "((1)(2))");
        let under_a_dummy =
            ["References: <0> | Subject: a", "References: <0> | Subject: a", "Subject: Re: a"];
        assert_eq!(threads(REFERENCES, &under_a_dummy), "((1)(2)(3))");
    }

    #[test]
    fn a_thread_may_be_deep_but_not_beyond_measure() {
        let facts = |number: u32| {
            let raw = format!("Message-ID: <{number}>\nReferences: <{}>\n", number - 1);
            Threadable { number, sent: 0, facts: Arc::new(Facts::of(raw.as_bytes())) }
        };
        let messages: Vec<_> = (1..=20_001).map(facts).collect();
        let forest = thread(REFERENCES, &messages[..5_000]).unwrap();
        let mut out = BytesMut::new();
        forest.write(&messages, &mut out);
        assert!(out.starts_with(b"(1 2 3 ") && out.ends_with(b" 4999 5000)"));
        assert!(thread(REFERENCES, &messages).is_err(), "20,000² / 2 steps");
    }
}
