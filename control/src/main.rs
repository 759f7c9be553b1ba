//! The `vestibule` binary.

/// The data path allocates nothing per packet; everything beside it is served faster by this allocator. In Windows builds
/// with the GNU linker it keeps what a thread held that has ended (docs/windows.md, "Threads, memory").
#[cfg_attr(not(all(windows, target_env = "gnu")), global_allocator)]
#[cfg_attr(all(windows, target_env = "gnu"), expect(dead_code))]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    vestibule_control::cli::main()
}
