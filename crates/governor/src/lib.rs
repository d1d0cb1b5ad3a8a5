//! Plimsoll's governor: the socket, the clock and the loop around the schedule.
