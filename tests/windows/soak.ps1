# Runs a soak, and puts its report into REPORT.json and REPORT.html. Its failure is ours.
param(
    [string] $Program = 'target\debug\vestibule.exe',
    [string] $Duration = '5m',
    [ValidateSet('wireguard', 'masque', 'h2')] [string] $Transport = 'wireguard',
    [string] $Report = 'soak'
)
$ErrorActionPreference = 'Stop'
& $Program soak --userspace --duration $Duration --swap-every 1s --transport $Transport --json "$Report.json" --html "$Report.html"
if ($LASTEXITCODE -ne 0) { throw "the soak failed: exit status $LASTEXITCODE, see $Report.html" }
