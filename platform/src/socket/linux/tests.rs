//! Tests against the kernel over the loopback interface.
