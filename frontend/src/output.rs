//! Streams to the host, each written by a thread of its own: a reader who has stopped reading holds up the guest,
//! but not the end of the run. And what the command itself has to say.

use crate::status::Failure;
use crate::stop::{self, Stop};
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Writes that may be under way. Each is what a slice has sent.
const QUEUE: usize = 2;
/// The same for what may be lost.
const OFFERS: usize = 64;
/// How often a wait looks whether the run is to end.
const LOOK: Duration = Duration::from_millis(50);
/// How many of those waits the end of the run grants a reader.
const PATIENCE: u32 = 20;

/// A stream to the host.
pub(crate) struct Output {
    to: Sender<Vec<u8>>,
    written: Receiver<io::Result<()>>,
    under_way: usize,
}

impl Output {
    /// A stream into `to`.
    pub(crate) fn new(to: impl Write + Send + 'static) -> Result<Self, Failure> {
        let (sender, bytes) = channel();
        let (results, written) = channel();
        stop::spawn("output", move || write(to, &bytes, &results))?;
        Ok(Self { to: sender, written, under_way: 0 })
    }

    /// Hands on `bytes`, when those before are on their way. Errors: of earlier bytes; [`ErrorKind::TimedOut`]
    /// if the run is to end and nobody reads.
    pub(crate) fn write(&mut self, bytes: Vec<u8>, stop: &Stop) -> io::Result<()> {
        if bytes.is_empty() {
            return self.wait(QUEUE, stop);
        }
        self.wait(QUEUE - 1, stop)?;
        self.under_way += 1;
        self.to.send(bytes).map_err(|_| ErrorKind::BrokenPipe.into())
    }

    /// Hands on `bytes`, which are lost if many before them are still on their way, or nobody takes them.
    pub(crate) fn offer(&mut self, bytes: Vec<u8>) {
        while self.under_way > 0 && self.written.try_recv().is_ok() {
            self.under_way -= 1;
        }
        if self.under_way < OFFERS && self.to.send(bytes).is_ok() {
            self.under_way += 1;
        }
    }

    /// Waits until all is written, at most a second without any.
    pub(crate) fn finish_soon(&mut self) {
        let mut patience = PATIENCE;
        while self.under_way > 0 && patience > 0 {
            match self.written.recv_timeout(LOOK) {
                Ok(_) => self.under_way -= 1,
                Err(RecvTimeoutError::Timeout) => patience -= 1,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits until all is written.
    pub(crate) fn finish(&mut self, stop: &Stop) -> io::Result<()> {
        self.wait(0, stop)
    }

    /// Waits until at most `most` writes are under way.
    fn wait(&mut self, most: usize, stop: &Stop) -> io::Result<()> {
        let mut patience = PATIENCE;
        loop {
            let time = if self.under_way > most { LOOK } else { Duration::ZERO };
            match self.written.recv_timeout(time) {
                Ok(result) => {
                    self.under_way -= 1;
                    result?;
                }
                Err(RecvTimeoutError::Timeout) if self.under_way <= most => return Ok(()),
                Err(RecvTimeoutError::Timeout) if stop.asked().is_none() => {}
                Err(RecvTimeoutError::Timeout) if patience > 0 => patience -= 1,
                Err(RecvTimeoutError::Timeout) => {
                    self.under_way = 0;
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(RecvTimeoutError::Disconnected) => return Err(ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

/// Writes what comes, and tells of each write what came of it, to the first error.
fn write(mut to: impl Write, bytes: &Receiver<Vec<u8>>, results: &Sender<io::Result<()>>) {
    for bytes in bytes {
        let result = to.write_all(&bytes).and_then(|()| to.flush());
        let failed = result.is_err();
        if results.send(result).is_err() || failed {
            break;
        }
    }
}

/// Says `text` on standard error, if that takes it: nobody could be told that it does not.
pub(crate) fn say(text: &str) {
    _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::thread;

    /// A reader that takes what it is told to.
    struct Reader(SyncSender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_is_written() {
        let (reader, read) = sync_channel(100);
        let (mut output, stop) = (Output::new(Reader(reader)).unwrap(), Stop::default());
        for n in 0..50 {
            output.write(vec![n], &stop).unwrap();
        }
        output.write(vec![], &stop).unwrap();
        output.finish(&stop).unwrap();
        assert_eq!(read.try_iter().flatten().collect::<Vec<u8>>(), (0..50).collect::<Vec<u8>>());
    }

    #[test]
    fn a_reader_that_stops_holds_up_no_end() {
        let (reader, _read) = sync_channel(0);
        let (mut output, stop) = (Output::new(Reader(reader)).unwrap(), Stop::default());
        output.write(vec![1], &stop).unwrap();
        output.write(vec![2], &stop).unwrap();
        stop.ask(Status::Limit);
        assert_eq!(output.write(vec![3], &stop).unwrap_err().kind(), ErrorKind::TimedOut);
        output.finish(&stop).unwrap();
    }

    #[test]
    fn offers_hold_up_nothing() {
        let (reader, read) = sync_channel(0);
        let mut output = Output::new(Reader(reader)).unwrap();
        (0..200).for_each(|n| output.offer(vec![n]));
        output.finish_soon();
        let all = thread::spawn(move || read.iter().flatten().collect::<Vec<u8>>());
        output.finish_soon();
        drop(output);
        assert_eq!(all.join().unwrap(), (0..OFFERS as u8).collect::<Vec<u8>>());
    }

    #[test]
    fn errors_come_out() {
        let (reader, read) = sync_channel(1);
        drop(read);
        let (mut output, stop) = (Output::new(Reader(reader)).unwrap(), Stop::default());
        output.write(vec![1], &stop).unwrap();
        assert_eq!(output.finish(&stop).unwrap_err().kind(), ErrorKind::BrokenPipe);
        // The thread may be about to end, and still take this; then the end says so.
        let second = output.write(vec![2], &stop).and_then(|()| output.finish(&stop));
        assert_eq!(second.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
