//! Tests against the kernel, each in a network namespace of its own thread.
