//! The `vestibule` binary.

/// The data path allocates nothing per packet; everything beside it is served faster by this allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    vestibule_control::cli::main()
}
