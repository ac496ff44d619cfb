//! The REFERENCES algorithm, step by step as RFC 5256 3 numbers them.

use std::collections::HashMap;

use super::{Forest, Node, THREAD_STEPS_MAX, Threadable, TooDeep};
use crate::mail::message_id::MessageId;

pub fn thread(messages: &[Threadable], merge_subjects: bool) -> Result<Forest, TooDeep> {
    let (nodes, parents) = Linker::default().link_all(messages)?;
    let mut forest = without_dummies(nodes, &parents);
    // Steps 4 and 6 at once where nothing is merged between them.
    sort(&mut forest, messages, merge_subjects);
    if merge_subjects {
        merge(&mut forest, messages);
        sort(&mut forest, messages, merge_subjects);
    }
    Ok(forest)
}

/// Step 1: links messages as their references say.
#[derive(Default)]
struct Linker {
    nodes: Vec<Node>,
    parents: Vec<Option<usize>>,
    by_id: HashMap<MessageId, usize>,
    steps: u64,
}

impl Linker {
    fn link_all(mut self, messages: &[Threadable]) -> Result<(Vec<Node>, Vec<Option<usize>>), TooDeep> {
        for (at, message) in messages.iter().enumerate() {
            let mut last = None;
            for id in &message.facts.references {
                let node = self.named(*id);
                // 1.A: a link that is there already stays, and none goes round.
                if let Some(parent) = last
                    && self.parents[node].is_none()
                    && !self.goes_round(parent, node)?
                {
                    self.parents[node] = Some(parent);
                }
                last = Some(node);
            }
            // Of several messages with one identifier, the first has it.
            let named =
                message.facts.id.map(|id| self.named(id)).filter(|node| self.nodes[*node].message.is_none());
            let node = named.unwrap_or_else(|| self.add());
            self.nodes[node].message = Some(at);
            // 1.B: what the message itself says counts more than what others said of it.
            self.parents[node] = None;
            if let Some(parent) = last
                && !self.goes_round(parent, node)?
            {
                self.parents[node] = Some(parent);
            }
        }
        Ok((self.nodes, self.parents))
    }

    fn add(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.parents.push(None);
        self.nodes.len() - 1
    }

    fn named(&mut self, id: MessageId) -> usize {
        if let Some(node) = self.by_id.get(&id) {
            return *node;
        }
        let node = self.add();
        self.by_id.insert(id, node);
        node
    }

    /// Whether `child` is `parent` or above it.
    fn goes_round(&mut self, parent: usize, child: usize) -> Result<bool, TooDeep> {
        let mut at = Some(parent);
        while let Some(node) = at {
            if node == child {
                return Ok(true);
            }
            self.steps += 1;
            if self.steps > THREAD_STEPS_MAX {
                return Err(TooDeep);
            }
            at = self.parents[node];
        }
        Ok(false)
    }
}

/// Steps 2 and 3: roots, and no message that is not there but where it holds several threads together.
fn without_dummies(mut nodes: Vec<Node>, parents: &[Option<usize>]) -> Forest {
    let mut tops = Vec::new();
    for (node, parent) in parents.iter().enumerate() {
        match parent {
            Some(parent) => nodes[*parent].children.push(node),
            None => tops.push(node),
        }
    }
    // Children before their parents.
    let mut order = tops.clone();
    let mut at = 0;
    while at < order.len() {
        let children = nodes[order[at]].children.clone();
        order.extend(children);
        at += 1;
    }
    for node in order.into_iter().rev() {
        let children = std::mem::take(&mut nodes[node].children);
        let kept = children.into_iter().flat_map(|child| {
            if nodes[child].message.is_some() {
                vec![child]
            } else {
                std::mem::take(&mut nodes[child].children)
            }
        });
        nodes[node].children = kept.collect();
    }
    let roots =
        tops.into_iter().filter_map(|top| match (nodes[top].message, nodes[top].children.as_slice()) {
            (None, []) => None,
            (None, [only]) => Some(*only),
            _ => Some(top),
        });
    let roots = roots.collect();
    Forest { nodes, roots }
}

/// Steps 4 and 6: siblings by when they were sent, a dummy by its first child. REFS has threads by their last message.
fn sort(forest: &mut Forest, messages: &[Threadable], by_first: bool) {
    let key_of = |node: &Node| node.message.map(|at| (messages[at].sent, at));
    let own: Vec<_> = forest.nodes.iter().map(key_of).collect();
    let key = |nodes: &[Node], node: usize| {
        own[node].or_else(|| nodes[node].children.first().and_then(|first| own[*first]))
    };
    // Dummies at the root first, or among what is merged: their own children have messages.
    let (dummies, others): (Vec<usize>, Vec<usize>) =
        (0..forest.nodes.len()).partition(|node| forest.nodes[*node].message.is_none());
    for node in others.into_iter().chain(dummies) {
        let mut children = std::mem::take(&mut forest.nodes[node].children);
        children.sort_by_key(|child| key(&forest.nodes, *child));
        forest.nodes[node].children = children;
    }
    let mut roots = std::mem::take(&mut forest.roots);
    if by_first {
        roots.sort_by_key(|root| key(&forest.nodes, *root));
    } else {
        roots.sort_by_cached_key(|root| last_sent(forest, &own, *root));
    }
    forest.roots = roots;
}

fn last_sent(forest: &Forest, own: &[Option<(i64, usize)>], root: usize) -> Option<(i64, usize)> {
    let mut last = own[root];
    let mut left = forest.nodes[root].children.clone();
    while let Some(node) = left.pop() {
        last = last.max(own[node]);
        left.extend(&forest.nodes[node].children);
    }
    last
}

/// Step 5: threads with one base subject become one.
fn merge(forest: &mut Forest, messages: &[Threadable]) {
    let facts = |forest: &Forest, root: usize| {
        let node = &forest.nodes[root];
        let speaker =
            node.message.or_else(|| node.children.first().and_then(|child| forest.nodes[*child].message));
        speaker.map(|at| messages[at].facts.clone())
    };
    let is_dummy = |forest: &Forest, root: usize| forest.nodes[root].message.is_none();
    let is_reply = |forest: &Forest, root: usize| {
        forest.nodes[root].message.is_some_and(|at| messages[at].facts.is_reply)
    };
    // 5.B: for each subject the root that others join: rather a dummy, rather one that is no reply.
    let mut table: HashMap<Box<str>, usize> = HashMap::new();
    for root in forest.roots.clone() {
        let Some(facts) = facts(forest, root).filter(|facts| !facts.subject.is_empty()) else { continue };
        let held = table.entry(facts.subject.clone()).or_insert(root);
        let better = if is_dummy(forest, *held) {
            false
        } else {
            is_dummy(forest, root) || (is_reply(forest, *held) && !is_reply(forest, root))
        };
        if better {
            *held = root;
        }
    }
    // 5.C
    let mut roots = Vec::with_capacity(forest.roots.len());
    // Where a new dummy has taken the place of the root that held the subject.
    let mut replaced: HashMap<usize, usize> = HashMap::new();
    for root in std::mem::take(&mut forest.roots) {
        let subject = facts(forest, root).map(|facts| facts.subject.clone()).unwrap_or_default();
        let Some(held) = table.get(&subject).copied().filter(|held| *held != root) else {
            roots.push(root);
            continue;
        };
        // The root itself held the subject until a new dummy took its place.
        if replaced.contains_key(&root) {
            roots.push(root);
            continue;
        }
        match (is_dummy(forest, held), is_dummy(forest, root)) {
            (true, true) => {
                let children = std::mem::take(&mut forest.nodes[root].children);
                forest.nodes[held].children.extend(children);
            }
            (true, false) => forest.nodes[held].children.push(root),
            (false, _) if is_reply(forest, root) && !is_reply(forest, held) => {
                forest.nodes[held].children.push(root);
            }
            (false, _) => {
                let dummy = forest.nodes.len();
                forest.nodes.push(Node { message: None, children: vec![held, root] });
                replaced.insert(held, dummy);
                table.insert(subject, dummy);
            }
        }
    }
    forest.roots = roots.into_iter().map(|root| replaced.get(&root).copied().unwrap_or(root)).collect();
}
