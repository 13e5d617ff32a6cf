//! One run of the program: fed, heard, and ended where it takes too long.

use std::io::{Read, Write};
use std::process::{Child, ChildStderr, ExitStatus};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// What is taken of a list, in bytes: some hundred thousand files.
const MOST: u64 = 64 << 20;
/// What is kept of its standard error: the end says why.
const KEPT: usize = 4 << 10;

/// How a run ended.
pub(super) struct Ran {
    /// Its exit code; none where a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) output: Vec<u8>,
    /// The end of its standard error.
    pub(super) said: String,
    /// Whether it was ended for it took too long.
    pub(super) is_late: bool,
}

impl Ran {
    pub(super) fn new(status: std::io::Result<ExitStatus>, output: Vec<u8>, said: String, is_late: bool) -> Self {
        Self { code: status.ok().and_then(|status| status.code()), output, said, is_late }
    }

    pub(super) fn is_well(&self) -> bool {
        self.code == Some(0) && !self.is_late
    }

    /// Whether a directory or a file was not found.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.code, Some(3 | 4)) && !self.is_late
    }

    /// rclone's last line. Lines that begin with a blank belong to the one before them.
    pub(super) fn cause(&self) -> String {
        let lines =
            || self.said.lines().rev().filter(|line| !line.starts_with(char::is_whitespace) && !line.is_empty());
        // "Failed to" begins the line that rclone ends with.
        let last = lines().find(|line| line.starts_with("Failed to ")).or_else(|| lines().next());
        match (last, self.code) {
            _ if self.is_late => "rclone did not come to its end in time, and was ended".into(),
            (Some(last), _) => last.trim_end().into(),
            (None, Some(code)) => format!("rclone ended with exit code {code} and no message"),
            (None, None) => "rclone was ended by a signal".into(),
        }
    }
}

/// Runs a program to its end.
pub(super) fn run(mut child: Child, input: Option<&[u8]>, limit: Duration) -> Ran {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (open, ended) = channel::<()>();
    thread::scope(|scope| {
        let hearing = open.clone();
        let said = scope.spawn(move || {
            let said = stderr.map(tail).unwrap_or_default();
            drop(hearing);
            said
        });
        let output = scope.spawn(move || {
            let mut output = Vec::new();
            let read = stdout.map(|stdout| stdout.take(MOST).read_to_end(&mut output));
            drop(open);
            drop(read);
            output
        });
        scope.spawn(move || {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A program that does not take all of it says why by its exit code.
                let _ = stdin.write_all(input);
            }
        });
        // Nothing is ever sent: both ends close with the program's.
        let is_late = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if is_late {
            end(&child, Signal::KILL);
        }
        let status = child.wait();
        Ran::new(status, output.join().unwrap_or_default(), said.join().unwrap_or_default(), is_late)
    })
}

/// The end of what a program says.
pub(super) fn tail(mut stderr: ChildStderr) -> String {
    let (mut kept, mut more) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = stderr.read(&mut more) {
        kept.extend_from_slice(&more[..read]);
        kept.drain(..kept.len().saturating_sub(KEPT));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Sends a signal to a run, and to whatever it runs itself. It must not have been waited for.
pub(super) fn end(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

/// Waits for a run; none where it goes on for longer than this.
pub(super) fn wait_within(child: &mut Child, limit: Duration) -> Option<std::io::Result<ExitStatus>> {
    let since = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if since.elapsed() >= limit => return None,
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            Ok(Some(status)) => return Some(Ok(status)),
            Err(cause) => return Some(Err(cause)),
        }
    }
}
