//! The names under which users reach each other's mailboxes (RFC 2342): `user/NAME/MAILBOX`, for each mailbox by
//! the name that its owner gives it, INBOX among them. The one place that takes such names apart.

/// What stands before the user's name.
pub const OTHERS: &str = "user/";

/// What a mailbox name means to whoever writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// One of one's own.
    Own(&'a str),
    /// `name` is what its owner calls it.
    Of { user: &'a str, name: &'a str },
    /// `user`, or `user/NAME`: a level above mailboxes, and never one.
    Level,
}

pub fn place(name: &str) -> Place<'_> {
    let Some(rest) = name.strip_prefix(OTHERS) else {
        return if name == OTHERS.trim_end_matches('/') { Place::Level } else { Place::Own(name) };
    };
    match rest.split_once('/') {
        Some((user, name)) => Place::Of { user, name },
        None => Place::Level,
    }
}

/// How others write the name. `None`: a user with a separator in his name has no place here.
pub fn shown(user: &str, name: &str) -> Option<String> {
    (!user.contains('/')).then(|| format!("{OTHERS}{user}/{name}"))
}

/// Whether a mailbox's name is `folder`, or one below it.
pub fn is_within(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(place("Work"), Place::Own("Work"));
        assert_eq!(place("users/bob/x"), Place::Own("users/bob/x"));
        assert_eq!(place("User/bob/x"), Place::Own("User/bob/x"));
        assert_eq!(place("user/bob/INBOX"), Place::Of { user: "bob", name: "INBOX" });
        assert_eq!(place("user/bob/a/b"), Place::Of { user: "bob", name: "a/b" });
        for level in ["user", "user/", "user/bob"] {
            assert_eq!(place(level), Place::Level, "{level}");
        }
        assert_eq!(shown("bob", "a/b").unwrap(), "user/bob/a/b");
        assert_eq!(shown("b/ob", "a"), None);
    }
}
