//! An answer: its head, and its body piece by piece, whole or in chunks.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::export::prometheus::Metrics;
use crate::export::view::View;
use crate::snapshot::{Snapshot, SnapshotKind};

pub(super) const PAGE: &[u8] = include_bytes!("page.html");
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that is not framed yet.
#[derive(Debug)]
pub struct Response {
    pub(super) status: &'static str,
    pub(super) content_type: &'static str,
    /// Further header lines, whole.
    pub(super) extra: &'static str,
    pub(super) body: Content,
}

pub(super) enum Content {
    Page(usize),
    Bytes(Vec<u8>, usize),
    Flows(Box<View>),
    Metrics(Box<Metrics>),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Content::Page(_) => "page",
            Content::Bytes(..) => "bytes",
            Content::Flows(_) => "flows",
            Content::Metrics(_) => "metrics",
        })
    }
}

impl Response {
    pub(super) fn ok(content_type: &'static str, body: Content) -> Response {
        Response { status: "200 OK", content_type, extra: "", body }
    }

    /// Text for a person.
    pub(super) fn text(status: &'static str, text: impl Into<Vec<u8>>) -> Response {
        Response { status, content_type: TEXT, extra: "", body: Content::Bytes(text.into(), 0) }
    }

    /// Appends the head to `out`; the body follows by [`Body::fill`].
    pub fn write_head(self, out: &mut Vec<u8>, head_only: bool, chunks: bool) -> Body {
        let length = match &self.body {
            Content::Page(_) => Some(PAGE.len()),
            Content::Bytes(bytes, _) => Some(bytes.len()),
            Content::Flows(_) | Content::Metrics(_) => None,
        };
        let mut head = String::with_capacity(512);
        let (status, content_type, extra) = (self.status, self.content_type, self.extra);
        // Writing to a String cannot fail.
        let _ = write!(head, "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{extra}");
        // A streamed body has no length beforehand. Chunks let the client detect a truncated answer; HTTP/1.0 has only
        // the end of the connection.
        match length {
            Some(length) => {
                let _ = write!(head, "Content-Length: {length}\r\n");
            }
            None if chunks => head.push_str("Transfer-Encoding: chunked\r\n"),
            None => {}
        }
        head.push_str("Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n");
        out.extend_from_slice(head.as_bytes());
        Body { content: self.body, chunked: chunks && length.is_none(), done: head_only }
    }
}

/// The rest of an answer, rendered while the peer reads it.
#[derive(Debug)]
pub struct Body {
    content: Content,
    chunked: bool,
    done: bool,
}

/// Length and line end before a chunk. Leading zeros are allowed (RFC 9112 7.1), so the length is filled in later.
const CHUNK_HEAD: &[u8] = b"000000\r\n";

impl Body {
    /// Whether the whole body is rendered.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The snapshot it reads, while it does, and where that comes from.
    pub fn snapshot(&self) -> Option<(SnapshotKind, *const Snapshot)> {
        match &self.content {
            _ if self.done => None,
            Content::Flows(flows) => Some((SnapshotKind::Flows, Arc::as_ptr(flows.snapshot()))),
            Content::Metrics(metrics) => metrics.snapshot().map(|held| (SnapshotKind::Metrics, Arc::as_ptr(held))),
            Content::Page(_) | Content::Bytes(..) => None,
        }
    }

    /// Appends to `out` until about `limit` bytes are in it, or all is.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) {
        if self.done {
            return;
        }
        if self.chunked {
            let at = out.len();
            out.extend_from_slice(CHUNK_HEAD);
            self.done = self.content.fill(out, limit);
            finish_chunk(out, at);
            if self.done {
                out.extend_from_slice(b"0\r\n\r\n");
            }
        } else {
            self.done = self.content.fill(out, limit);
        }
        if self.done {
            // Releases the snapshot while the rest of the answer is still being sent.
            self.content = Content::Page(PAGE.len());
        }
    }
}

/// Writes the length of the chunk whose head is at `at`, and its end. An empty chunk would end the body, so its head is
/// removed.
fn finish_chunk(out: &mut Vec<u8>, at: usize) {
    let length = out.len().saturating_sub(at + CHUNK_HEAD.len());
    if length == 0 {
        out.truncate(at);
        return;
    }
    let digits = (0..6).map(|n| b"0123456789abcdef"[length >> (20 - 4 * n) & 0xf]);
    for (to, digit) in out.iter_mut().skip(at).zip(digits) {
        *to = digit;
    }
    out.extend_from_slice(b"\r\n");
}

impl Content {
    /// Returns whether the body is complete.
    fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        match self {
            Content::Page(at) => copy(out, PAGE, at, limit),
            Content::Bytes(bytes, at) => copy(out, bytes, at, limit),
            Content::Flows(flows) => flows.fill(out, limit),
            Content::Metrics(metrics) => metrics.fill(out, limit),
        }
    }
}

fn copy(out: &mut Vec<u8>, from: &[u8], at: &mut usize, limit: usize) -> bool {
    let rest = from.get(*at..).unwrap_or_default();
    let piece = rest.get(..limit.saturating_sub(out.len())).unwrap_or(rest);
    out.extend_from_slice(piece);
    *at += piece.len();
    *at >= from.len()
}
