# One TCP connection's throughput through `vestibule wireguard` and through wireguard-go, in turns, and their ratio. Each is
# run as the system, as WireGuard's tools want it, with an adapter of its own, and configured over its named pipe. The far
# end is the same for both: a peer that sends every packet back with its addresses exchanged (platform/examples/mirror.rs),
# so that each byte passes the tunnel there and back. Needs an administrator, and wintun.dll beside each program.
#
#   tests\windows\throughput.ps1 -Program target\release\vestibule.exe -Other go\bin\wireguard.exe -Mirror target\release\examples\mirror.exe
#
# The ratio is told, not judged: a hosted machine is whatever it is that day. What fails is what does not run at all.
param(
    [Parameter(Mandatory)] [string] $Program,
    [Parameter(Mandatory)] [string] $Other,
    [Parameter(Mandatory)] [string] $Mirror,
    [int] $Rounds = 6,
    [int] $Seconds = 10,
    [string] $Report = 'throughput'
)
$ErrorActionPreference = 'Stop'
$Program, $Other, $Mirror = $Program, $Other, $Mirror | ForEach-Object { (Resolve-Path $_).Path }
$near, $far, $port, $tunnel = '10.66.0.1', '10.66.0.2', 5001, 51900
# Of this measurement alone, for the length of it.
$keys = @{ near = '{0:x64}' -f 0x5157; far = '{0:x64}' -f 0x7131 }

Add-Type -TypeDefinition @'
using System;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Threading;

public static class Bulk
{
    // Bits per second that arrive on one connection from `near` to `far`, which comes back to `near`.
    public static double Measure(string near, string far, int port, int seconds)
    {
        var listener = new TcpListener(IPAddress.Parse(near), port);
        listener.Start();
        long arrived = 0;
        var reader = new Thread(() =>
        {
            try
            {
                using (var accepted = listener.AcceptTcpClient())
                {
                    var buffer = new byte[1 << 18];
                    int read;
                    while ((read = accepted.GetStream().Read(buffer, 0, buffer.Length)) > 0) Interlocked.Add(ref arrived, read);
                }
            }
            catch (Exception) { }
        });
        reader.IsBackground = true;
        reader.Start();
        using (var client = new TcpClient(new IPEndPoint(IPAddress.Parse(near), 0)))
        {
            client.Connect(far, port);
            var stream = client.GetStream();
            stream.WriteTimeout = 10000;
            var data = new byte[1 << 18];
            var clock = Stopwatch.StartNew();
            // The first second is the congestion window's.
            while (clock.Elapsed.TotalSeconds < 1) stream.Write(data, 0, data.Length);
            long before = Interlocked.Read(ref arrived);
            double began = clock.Elapsed.TotalSeconds;
            while (clock.Elapsed.TotalSeconds < seconds + 1) stream.Write(data, 0, data.Length);
            long after = Interlocked.Read(ref arrived);
            double took = clock.Elapsed.TotalSeconds - began;
            listener.Stop();
            return (after - before) * 8 / took;
        }
    }
}
'@

# Runs a program as the system until its task is ended.
function Start-AsSystem([string] $Name, [string] $File, [string] $Words) {
    $action = New-ScheduledTaskAction -Execute $File -Argument $Words
    $principal = New-ScheduledTaskPrincipal -UserId 'NT AUTHORITY\SYSTEM' -RunLevel Highest
    Register-ScheduledTask -TaskName $Name -Action $action -Principal $principal -Force | Out-Null
    Start-ScheduledTask -TaskName $Name
}

function Stop-AsSystem([string] $Name) {
    Stop-ScheduledTask -TaskName $Name -ErrorAction SilentlyContinue
    Unregister-ScheduledTask -TaskName $Name -Confirm:$false -ErrorAction SilentlyContinue
}

# A request to an interface, as wg.exe makes it, and the answer's lines.
function Invoke-Wireguard([string] $Interface, [string] $Request) {
    $name = "ProtectedPrefix\Administrators\WireGuard\$Interface"
    $pipe = [IO.Pipes.NamedPipeClientStream]::new('.', $name, [IO.Pipes.PipeDirection]::InOut)
    try {
        $pipe.Connect(60000)
        $bytes = [Text.Encoding]::ASCII.GetBytes("$Request`n`n")
        $pipe.Write($bytes, 0, $bytes.Length)
        $pipe.Flush()
        $reader = [IO.StreamReader]::new($pipe)
        $lines = @()
        while ($null -ne ($line = $reader.ReadLine()) -and $line -ne '') { $lines += $line }
        if ($lines -notcontains 'errno=0') { throw "${Interface}: $($lines -join ', ')" }
        $lines
    } finally {
        $pipe.Dispose()
    }
}

function Measure-One([string] $Name, [string] $File, [string] $Words) {
    $interface = "vst-$Name"
    $info = [Diagnostics.ProcessStartInfo]::new($Mirror)
    $info.UseShellExecute = $false
    $info.RedirectStandardInput = $true
    $info.RedirectStandardOutput = $true
    $own = [Diagnostics.ProcessStartInfo]::new($Mirror, "0 $($keys.near) $($keys.far) $near/32")
    $own.UseShellExecute = $false
    $own.RedirectStandardInput = $true
    $own.RedirectStandardOutput = $true
    # The same program tells the public half of a key.
    $teller = [Diagnostics.Process]::Start($own)
    $public = $teller.StandardOutput.ReadLine()
    $teller.StandardInput.Close()
    $teller.WaitForExit()
    $info.Arguments = "$tunnel $($keys.far) $public $near/32"
    $mirror = [Diagnostics.Process]::Start($info)
    try {
        $peer = $mirror.StandardOutput.ReadLine()
        Start-AsSystem $interface $File "$Words $interface"
        Invoke-Wireguard $interface (@("set=1", "private_key=$($keys.near)", "public_key=$peer",
                "endpoint=127.0.0.1:$tunnel", 'replace_allowed_ips=true', "allowed_ip=$far/32") -join "`n") | Out-Null
        $until = (Get-Date).AddSeconds(60)
        while (-not (Get-NetAdapter -Name $interface -ErrorAction SilentlyContinue)) {
            if ((Get-Date) -gt $until) { throw "no adapter $interface" }
            Start-Sleep -Milliseconds 200
        }
        netsh interface ipv4 set subinterface $interface mtu=1420 store=active | Out-Null
        New-NetIPAddress -InterfaceAlias $interface -IPAddress $near -PrefixLength 24 -PolicyStore ActiveStore -SkipAsSource $false | Out-Null
        $until = (Get-Date).AddSeconds(60)
        while ((Get-NetIPAddress -InterfaceAlias $interface -AddressFamily IPv4).AddressState -ne 'Preferred') {
            if ((Get-Date) -gt $until) { throw "the address of $interface is not used" }
            Start-Sleep -Milliseconds 200
        }
        [Bulk]::Measure($near, $far, $port, $Seconds)
    } finally {
        Stop-AsSystem $interface
        $mirror.StandardInput.Close()
        if (-not $mirror.WaitForExit(10000)) { $mirror.Kill() }
        $until = (Get-Date).AddSeconds(60)
        while ((Get-NetAdapter -Name $interface -ErrorAction SilentlyContinue) -and (Get-Date) -lt $until) {
            Start-Sleep -Milliseconds 200
        }
    }
}

function Get-Median([double[]] $Values) {
    $sorted = @($Values | Sort-Object)
    ($sorted[[Math]::Floor(($sorted.Count - 1) / 2)] + $sorted[[Math]::Floor($sorted.Count / 2)]) / 2
}

New-NetFirewallRule -Name vst-throughput -DisplayName 'vestibule throughput' -Direction Inbound -Action Allow `
    -Protocol TCP -LocalPort $port | Out-Null
$seen = @{ vestibule = @(); other = @() }
try {
    foreach ($round in 1..$Rounds) {
        # Neither always goes first.
        $order = if ($round % 2) { 'vestibule', 'other' } else { 'other', 'vestibule' }
        foreach ($which in $order) {
            $bits = if ($which -eq 'vestibule') { Measure-One $which $Program 'wireguard' } else { Measure-One $which $Other '' }
            $seen[$which] += $bits
            Write-Output ('round {0}, {1}: {2:n0} Mb/s' -f $round, $which, ($bits / 1e6))
        }
    }
} finally {
    Remove-NetFirewallRule -Name vst-throughput
}
$ratios = 0..($Rounds - 1) | ForEach-Object { $seen.vestibule[$_] / $seen.other[$_] }
$result = [ordered]@{
    schema = 1
    seconds = $Seconds
    vestibule_bits_per_second = $seen.vestibule
    wireguard_go_bits_per_second = $seen.other
    ratios = $ratios
    ratio = Get-Median $ratios
}
$result | ConvertTo-Json | Set-Content "$Report.json"
$line = 'vestibule {0:n0} Mb/s, wireguard-go {1:n0} Mb/s (medians of {2}), ratio {3:n2}' -f
    ((Get-Median $seen.vestibule) / 1e6), ((Get-Median $seen.other) / 1e6), $Rounds, $result.ratio
Write-Output $line
if ($env:GITHUB_STEP_SUMMARY) { Add-Content $env:GITHUB_STEP_SUMMARY $line }
