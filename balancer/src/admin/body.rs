//! Bodies of answers: whole, or in portions as they are made.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as Portions, Bytes, Frame, SizeHint};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// What follows the head of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// All of it, empty once it was taken.
    Whole(Bytes),
    /// What comes, until the other end is dropped.
    Portions(Receiver<Bytes>),
}

/// Portions that may wait to be sent; who makes more of them waits, too.
const WAITING: usize = 4;

impl Body {
    /// A body and where its portions are put. Whoever puts them learns when the reader has left.
    pub(super) fn in_portions() -> (Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (sender, Self::Portions(receiver))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Whole(bytes.into())
    }
}

impl Portions for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Portions(receiver) => {
                receiver.poll_recv(context).map(|it| it.map(|it| Ok(Frame::data(it))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Portions(_) => SizeHint::default(),
        }
    }
}
