//! A TCP proxy on loopback that can be cut: the network between one operator and the API server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Passes bytes between its own address and another. Its threads end with the test.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: String,
    cut: Arc<AtomicBool>,
}

impl Proxy {
    /// A proxy to this address.
    ///
    /// # Panics
    /// When no port is free.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener
            .local_addr()
            .expect("it has an address")
            .to_string();
        let cut = Arc::new(AtomicBool::new(false));
        let (target, is_cut) = (target.to_owned(), cut.clone());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (target, is_cut) = (target.clone(), is_cut.clone());
                thread::spawn(move || connect(near, &target, &is_cut));
            }
        });
        Self { address, cut }
    }

    /// From now on nothing gets through and nothing is refused: packets vanish. What was on its
    /// way when the network comes back is lost with its connection.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

/// How often a connection looks whether the network is cut.
const TICK: Duration = Duration::from_millis(10);

fn connect(near: TcpStream, target: &str, cut: &Arc<AtomicBool>) {
    if !heals(cut) {
        return;
    }
    let Ok(far) = TcpStream::connect(target) else {
        return;
    };
    let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    let also = cut.clone();
    thread::spawn(move || pump(near_again, far_again, &also));
    pump(far, near, cut);
}

/// Waits while the network is cut; false if it was, for the connection is dead then.
fn heals(cut: &AtomicBool) -> bool {
    let whole = !cut.load(Ordering::SeqCst);
    while cut.load(Ordering::SeqCst) {
        thread::sleep(TICK);
    }
    whole
}

fn pump(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let _ = from.set_read_timeout(Some(TICK));
    let mut buffer = [0; 16 * 1024];
    while heals(cut) {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if is_timeout(&error) => continue,
            Err(_) => break,
        };
        if !heals(cut) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
