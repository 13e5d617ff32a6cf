//! What a connection goes over: it can be ended from wherever that must be, and shows when the other side has ended it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use ssh2::ErrorCode;

/// How long the other machine, or what is in between, may confirm nothing, while it is asked each [`ALIVE`] whether it is there.
const DEAD: Duration = Duration::from_secs(75);
const ALIVE: Duration = Duration::from_secs(15);

/// A line. Its clones are the same one.
#[derive(Clone)]
pub(super) struct Line(Arc<Ends>);

struct Ends {
    stream: TcpStream,
    /// Whether it was ended here.
    ended: AtomicBool,
}

impl Line {
    /// A line over a stream of bytes, on which small messages go at once: where the server's window is small, all are.
    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, ALIVE)?;
        sockopt::set_tcp_keepintvl(&stream, ALIVE)?;
        sockopt::set_tcp_keepcnt(&stream, (DEAD.as_secs() / ALIVE.as_secs()) as u32)?;
        sockopt::set_tcp_user_timeout(&stream, DEAD.as_millis() as u32)?;
        Ok(Self(Arc::new(Ends { stream, ended: AtomicBool::new(false) })))
    }

    /// Another handle of its stream.
    pub(super) fn stream(&self) -> io::Result<TcpStream> {
        self.0.stream.try_clone()
    }

    /// Ends it: whoever waits for an answer has an error at once.
    pub(super) fn hang_up(&self) {
        self.0.ended.store(true, Relaxed);
        // One that has ended already is as good.
        let _ = self.0.stream.shutdown(Shutdown::Both);
    }

    /// Ends it where a request got no answer: libssh2 would take one that comes later for the answer to the next request.
    pub(super) fn hang_up_unless_answered(&self, cause: &ssh2::Error) {
        if !is_answer(cause) {
            self.hang_up();
        }
    }

    /// Whether neither side has ended it, as far as is known here.
    pub(super) fn is_up(&self) -> bool {
        let mut waited_for = [PollFd::new(&self.0.stream, PollFlags::RDHUP)];
        let ended_there = poll(&mut waited_for, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0);
        !ended_there && !self.0.ended.load(Relaxed)
    }
}

/// Whether the server has said no; else it has said nothing that can be understood.
pub(super) fn is_answer(cause: &ssh2::Error) -> bool {
    matches!(cause.code(), ErrorCode::SFTP(_))
}
