//! The bounds of an IMAP session, each with its unit in its name.

/// Bytes of one command's lines, literals apart (RFC 7162 4 asks for at least 8,192).
pub const COMMAND_LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one command's literals together; an APPEND's message is not among them.
pub const COMMAND_LITERAL_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a non-synchronising literal that is read and thrown away to stay in step; beyond it: BYE.
pub const SWALLOWED_LITERAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of a tag.
pub const TAG_BYTES_MAX: usize = 128;
/// BADs without a good command between them before login, then BYE.
pub const BAD_COMMANDS_MAX: u32 = 3;
/// The same once logged in, where a client may be merely curious about extensions.
pub const BAD_COMMANDS_MAX_LOGGED_IN: u32 = 10;
/// Refused logins in one connection, then BYE.
pub const REFUSED_LOGINS_MAX: u32 = 5;
/// Bytes of one SASL line, base64.
pub const SASL_LINE_BYTES_MAX: usize = 8 * 1024;
/// Depth of parentheses, NOT and OR in SEARCH.
pub const SEARCH_DEPTH_MAX: usize = 32;
/// Keys of one SEARCH, all levels together.
pub const SEARCH_KEYS_MAX: usize = 1_000;
/// Items of one FETCH.
pub const FETCH_ITEMS_MAX: usize = 256;
/// Names in one HEADER.FIELDS list.
pub const HEADER_FIELDS_MAX: usize = 256;
/// Flags in one list of STORE or APPEND.
pub const FLAGS_PER_COMMAND_MAX: usize = 128;
/// Ranges in one sequence set.
pub const SET_RANGES_MAX: usize = 10_000;
/// Options of one list of them in LIST (RFC 5258); there are four to name.
pub const LIST_OPTIONS_MAX: usize = 8;
/// Ranges of UIDs in one VANISHED response; more go into further ones.
pub const VANISHED_RANGES_PER_LINE: usize = 1_000;
/// Bytes of an identifier in an access control list: a dash and a full address.
pub const ACL_IDENTIFIER_BYTES_MAX: usize = 320;
/// Resources in one SETQUOTA (RFC 9208).
pub const QUOTA_RESOURCES_MAX: usize = 16;
/// Entries in one GETMETADATA, SETMETADATA, or LIST that returns annotations (RFC 5464).
pub const METADATA_ENTRIES_MAX: usize = 128;
/// Patterns in one LIST.
pub const LIST_PATTERNS_MAX: usize = 32;
/// `%` and `*` in one LIST pattern, runs counted once.
pub const LIST_WILDCARDS_MAX: usize = 16;
/// Bytes of a mailbox name, UTF-8.
pub const MAILBOX_NAME_BYTES_MAX: usize = 500;
/// Levels of a mailbox name.
pub const MAILBOX_NAME_LEVELS_MAX: usize = 32;
/// Pairs in an ID command (RFC 2971 3.3).
pub const ID_PAIRS_MAX: usize = 30;
/// Output gathered before it is sent: about this many bytes.
pub const OUTPUT_CHUNK_BYTES: usize = 64 * 1024;
/// Input handed to the placing of an APPEND at a time, bytes.
pub const APPEND_CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Messages of one APPEND (RFC 3502); what one command of the state takes.
pub const APPEND_MESSAGES_MAX: usize = 1_000;
/// Messages of any one command, where the setting imap.message_limit says so (RFC 9738 3: at least 1,000).
pub const MESSAGE_LIMIT: usize = APPEND_MESSAGES_MAX;
/// Texts and URLs of one APPEND (RFC 4469); each URL may be a message to be read.
pub const CATENATE_PARTS_MAX: usize = 1_000;
/// Bytes of a URL that BADURL repeats.
pub const BADURL_BYTES_MAX: usize = 1_000;
/// Bytes of one APPEND's lines, messages apart: flags and dates of all of them go into one entry of the log.
pub const APPEND_LINES_BYTES_MAX: usize = 1024 * 1024;
/// Seconds from the first message of an APPEND to its commit. Bodies that no message names are dropped after ten
/// minutes: what is named after that long may be gone.
pub const APPEND_SECONDS_MAX: u64 = 5 * 60;
/// Seconds of silence before login.
pub const LOGIN_SECONDS_MAX: u64 = 180;
/// RFC 3501 5.4: at least 30 minutes of silence are allowed once logged in, IDLE among them.
pub const SILENCE_SECONDS_MAX: u64 = 30 * 60;
/// RFC 2177: clients renew IDLE every 29 minutes; a minute of grace on top of theirs.
pub const IDLE_SECONDS_MAX: u64 = 31 * 60;
/// A command that reading does not depend on is waited for this long, milliseconds.
pub const TRY_WAIT_MS_MAX: u64 = 500;
/// A view that lags behind what was committed is waited for this long, milliseconds.
pub const SETTLE_WAIT_MS_MAX: u64 = 2_000;
/// Bytes of message summaries remembered by a node.
pub const SUMMARY_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of previews remembered by a node.
pub const PREVIEW_CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Part numbers in one section.
pub const PART_LEVELS_MAX: usize = 100;
/// Messages that SEARCH looks at while it holds the view and the runtime, of those that need no body.
pub const SEARCH_MESSAGES_PER_TURN: usize = 4_096;
/// Messages whose headers are asked for at a time, for SORT and THREAD.
pub const FACTS_PER_QUESTION_MAX: usize = 128;
/// Messages of which is asked at a time what a listing shows, or what a search needs of the header.
pub const MESSAGES_PER_QUESTION_MAX: usize = 128;
/// Messages that are read in one go for such a question, and their bytes, unless one alone is larger.
pub const READ_TOGETHER_MAX: usize = 32;
pub const READ_TOGETHER_BYTES_MAX: usize = 128 * 1024;
/// Bytes of what SORT and THREAD compare by, for one command; beyond it: `NO [LIMIT]`.
pub const SORT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Criteria of one SORT.
pub const SORT_CRITERIA_MAX: usize = 16;
/// Bytes of what is remembered of headers by a node, for SORT and THREAD.
pub const FACTS_CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The same, for searches.
pub const EXCERPT_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Results that a session has kept current (RFC 5267); beyond it: NOUPDATE.
pub const CONTEXTS_MAX: usize = 8;
/// Bytes of one such result; beyond it: NOUPDATE.
pub const CONTEXT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Event groups of one NOTIFY (RFC 5465); beyond it: `NO [NOTIFICATIONOVERFLOW]`, as for the next two.
pub const NOTIFY_GROUPS_MAX: usize = 64;
/// Mailbox names in all groups of one NOTIFY.
pub const NOTIFY_NAMES_MAX: usize = 1_000;
/// Mailboxes that a session listens to, and subscriptions; where there come to be more it listens no longer.
pub const NOTIFY_MAILBOXES_MAX: usize = 2_000;
/// Milliseconds from one telling of an account's news to the next: a burst becomes one.
pub const NEWS_PACE_MS: u64 = 100;
/// Tags in one CANCELUPDATE.
pub const CANCELLED_TAGS_MAX: usize = 32;
