//! The front-side bus's way for interrupt messages: they wait here, in order, until the local APICs
//! take them.

use serde::{Deserialize, Serialize};

use crate::device::InterruptMessage;

/// The messages on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fsb {
    messages: Vec<InterruptMessage>,
}

impl Fsb {
    /// Sends a message.
    pub fn send(&mut self, message: InterruptMessage) {
        self.messages.push(message);
    }

    /// The messages sent since the last call, in order.
    pub fn take_messages(&mut self) -> Vec<InterruptMessage> {
        std::mem::take(&mut self.messages)
    }

    /// Messages are waiting.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }
}
