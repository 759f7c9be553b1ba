# What the Windows steps share. To be sourced with the top of the tree as the working directory.
# shellcheck shell=bash

WINDOWS_TARGET=x86_64-pc-windows-gnu
export WINDOWS_OUT=$PWD/target/windows/$WINDOWS_TARGET/debug
# The prefix is this tree's own, so that ending its server ends nobody else's programs.
export WINEPREFIX=$PWD/target/wine WINEDEBUG=${WINEDEBUG:--all}
# No .NET, no browser engine, no entries in the desktop's menus.
export WINEDLLOVERRIDES="mscoree,mshtml,winemenubuilder.exe="

# The rustup toolchain has no Windows library here; Debian's Rust builds one from its sources
# (docs/decisions/0010-windows-check.md). tests/windows/cargo.toml says with which settings.
windows_cargo() {
    local verb=$1
    shift
    env PATH=/usr/sbin:/usr/bin:/sbin:/bin RUSTC_BOOTSTRAP=1 /usr/bin/cargo "$verb" --locked \
        -Zbuild-std=std,panic_abort --target "$WINDOWS_TARGET" --target-dir target/windows \
        --config tests/windows/cargo.toml "$@"
}

wine_tool() {
    local tool=$1
    command -v "$tool" || echo "/usr/lib/wine/$tool"
}

# Makes the prefix, and keeps its server between programs: starting one takes seconds.
wine_start() {
    local system=$WINEPREFIX/drive_c/windows/system32
    mkdir -p target
    if [ ! -f "$WINEPREFIX/system.reg" ]; then
        echo "windows: making a Wine prefix in target/wine ($("$(wine_tool wine64)" --version))"
        timeout 300 "$(wine_tool wine64)" wineboot.exe --init || return
    fi
    "$(wine_tool wineserver64)" -p
    # Wine before 10 lacks this library, which Rust's programs take their entropy from.
    if [ ! -f "$system/bcryptprimitives.dll" ] || [ tests/windows/bcryptprimitives.c -nt "$system/bcryptprimitives.dll" ]; then
        x86_64-w64-mingw32-gcc -O2 -Wall -Wextra -Werror -shared -s -o "$system/bcryptprimitives.dll" \
            tests/windows/bcryptprimitives.c -ladvapi32 || return
    fi
}

# Ends every program of the prefix, services too.
wine_end() {
    [ -d "$WINEPREFIX" ] || return 0
    "$(wine_tool wineserver64)" -k 2>/dev/null
    timeout 60 "$(wine_tool wineserver64)" -w
}
