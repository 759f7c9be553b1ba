#!/usr/bin/env bash
# Makes the Windows package and installs it under Wine as deployment tools do, without anybody looking on.
#
#   tests/windows/installer.sh PROGRAM LIBRARY      what is packed as vestibule.exe and wintun.dll
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
. tests/windows/lib.sh
program=$1 library=$2
package=target/installer/vestibule.msi
log=target/installer/install.log
installed="$WINEPREFIX/drive_c/Program Files/Vestibule"
mdm=$WINEPREFIX/drive_c/ProgramData/Cloudflare/mdm.xml
id=1a2b3c.access secret=a-secret-of-the-test
passed=0 failed=0

# check CLAIM COMMAND... : counts whether the command succeeds
check() {
    local claim=$1
    shift
    if "$@" >/dev/null 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $claim"
    fi
}
no() { ! "$@"; }
holds() { tr -d '\0' <"$1" | grep -q -- "$2"; }
# Whether the service manager knows the service, and starts it with the system.
service() { timeout 60 "$(wine_tool wine64)" reg.exe query 'HKLM\SYSTEM\CurrentControlSet\Services\Vestibule' /v Start; }
row() { msiinfo export "$package" "$1" | grep -P -- "$2"; }
msiexec() { timeout 120 "$(wine_tool wine64)" msiexec.exe "$@" /qn '/l*v' "Z:$PWD/$log" </dev/null; }

rm -rf "$installed" "$mdm" "$log"
mkdir -p target/installer
check "the package is made" control/installer/build "$program" "$library"
for property in AUTH_CLIENT_ID AUTH_CLIENT_SECRET; do
    check "$property is hidden" row Property "^MsiHiddenProperties\t.*\b$property\b"
    check "$property reaches the system's part" row Property "^SecureCustomProperties\t.*\b$property\b"
done
check "the command that holds the token is hidden, deferred, and the system's" row CustomAction '^WriteMdm\t11282\t'

check "it installs" msiexec /i "$package" ORGANIZATION=mycompany "AUTH_CLIENT_ID=$id" "AUTH_CLIENT_SECRET=$secret" \
    PRE_LOGIN=1 SWITCH_LOCKED=1 SERVICE_MODE=tunnelonly
check "the program is there, and as it was built" cmp "$installed/vestibule.exe" "$program"
check "the library is beside it" cmp "$installed/wintun.dll" "$library"
check "the service is installed" service
check "the token is in mdm.xml" holds "$mdm" "<string>$secret</string>"
check "the token is for before login" holds "$mdm" '<key>pre_login</key>'
check "a flag is one" holds "$mdm" '<true/>'
check "there is a log" test -s "$log"
# Wine prints all properties at the end, hidden ones too; Windows does not, and tests/windows/native.ps1 looks at its log.
tr -d '\0' <"$log" | grep -av '^Property([SC]): ' >"$log.actions"
check "the secret is in none of its actions" no holds "$log.actions" "$secret"
check "the token's id is in none of its actions" no holds "$log.actions" "$id"

check "it uninstalls" msiexec /x "$package"
check "the program is gone" no test -e "$installed/vestibule.exe"
check "the service is gone" no service
check "the configuration stays: it is the administrator's" test -s "$mdm"

rm -f "$mdm"
check "a value that means nothing fails the installation" no msiexec /i "$package" ORGANIZATION=mycompany SWITCH_LOCKED=perhaps
check "no configuration is left then" no test -e "$mdm"
check "nor a service" no service
msiexec /x "$package" >/dev/null 2>&1
echo "left out: hidden properties in the log's list of properties: Wine does not know that they are hidden"
echo "windows result: counted. $passed passed; $failed failed; 1 skipped"
[ "$failed" = 0 ]
