//! Plimsoll's views of the event stream: status line, summary, report, top.
