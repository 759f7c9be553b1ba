# Two soaks at a time on one machine, each with a Wintun adapter of its own, kernel sockets on it and addresses that the other
# has not. Their reports are REPORT-1.json, REPORT-1.html and the same with 2. A failure of either is ours. Needs an
# administrator, and wintun.dll beside the program. What it makes it takes away.
param(
    [string] $Program = 'target\debug\vestibule.exe',
    [string] $Duration = '5m',
    [ValidateSet('wireguard', 'masque', 'h2')] [string] $Transport = 'wireguard',
    [int] $Rate = 500,
    [int] $TcpRate = 10,
    # Minutes after which both are ended.
    [int] $Limit = 12,
    [string] $Report = 'adapters'
)
$ErrorActionPreference = 'Stop'
$Program = (Resolve-Path $Program).Path
$numbers = 1, 2

# The adapters of these soaks that the system has.
function Get-Ours { Get-NetAdapter -IncludeHidden | Where-Object { $_.Name -in ($numbers | ForEach-Object { "soak$_" }) } }

if (Get-Ours) { throw 'there are adapters called soak1 or soak2 already' }
$processes = @{}
try {
    foreach ($number in $numbers) {
        $words = 'soak', '--userspace', '--adapter', "soak$number", '--pool', "$number", '--duration', $Duration,
            '--swap-every', '1s', '--transport', $Transport, '--rate', "$Rate", '--tcp-rate', "$TcpRate",
            '--json', "$Report-$number.json", '--html', "$Report-$number.html"
        $process = Start-Process $Program -ArgumentList $words -PassThru -NoNewWindow `
            -RedirectStandardOutput "$Report-$number.out" -RedirectStandardError "$Report-$number.err"
        # A process whose handle nobody has asked for forgets its exit status.
        $null = $process.Handle
        $processes[$number] = $process
    }
    $end = (Get-Date).AddMinutes($Limit)
    foreach ($number in $numbers) {
        $left = [Math]::Max(0, ($end - (Get-Date)).TotalMilliseconds)
        if (-not $processes[$number].WaitForExit([int] $left)) { throw "soak $number has not ended after $Limit minutes" }
    }
} finally {
    foreach ($process in $processes.Values) {
        if (-not $process.HasExited) { Stop-Process -Id $process.Id -Force -ErrorAction SilentlyContinue }
    }
    foreach ($number in $processes.Keys) {
        Write-Output "soak $number"
        Get-Content "$Report-$number.err" -Tail 40 -ErrorAction SilentlyContinue
        Get-Content "$Report-$number.out" -ErrorAction SilentlyContinue
    }
}
foreach ($number in $numbers) {
    $code = $processes[$number].ExitCode
    if ($code -ne 0) { throw "soak $number failed: exit status $code, see $Report-$number.html" }
}
# The driver takes a moment to remove an adapter whose process has ended.
$until = (Get-Date).AddSeconds(60)
while ((Get-Ours) -and (Get-Date) -lt $until) { Start-Sleep -Milliseconds 500 }
if (Get-Ours) { throw "an adapter is left: $((Get-Ours).Name -join ', ')" }
Write-Output 'ok: two adapters at a time, nothing lost on either, and both are gone'
