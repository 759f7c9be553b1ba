# A gateway and the installed service on one Windows machine, each with an adapter of Wintun's: before login, a logon that
# is told as the system would, a network card that goes and comes back, second instances, a service that is killed, and the
# end, after which the network is what it was before. Needs an administrator, and wintun.dll beside the program. What it
# makes it takes away.
param([Parameter(Mandatory)] [string] $Program)
$ErrorActionPreference = 'Stop'
$Program = (Resolve-Path $Program).Path
$work = Join-Path ([IO.Path]::GetTempPath()) "vestibule-$PID"
$sessions = "vestibule-sessions-$PID"
New-Item -ItemType Directory -Path $work | Out-Null

function Assert([bool] $Holds, [string] $Claim) {
    if (-not $Holds) { throw "not so: $Claim" }
    Write-Output "ok: $Claim"
}

function Wait-For([string] $What, [scriptblock] $Holds) {
    $until = (Get-Date).AddSeconds(90)
    while (-not (& $Holds)) {
        if ((Get-Date) -gt $until) { throw "not in time: $What; $(& $Program status 2>&1)" }
        Start-Sleep -Milliseconds 200
    }
    Write-Output "ok: $What"
}

function Get-Status { & $Program status --json 2>$null | ConvertFrom-Json -ErrorAction SilentlyContinue }

# A line to the session source, which is a named pipe here.
function Send-Session([string] $Line) {
    $pipe = [IO.Pipes.NamedPipeClientStream]::new('.', $sessions, [IO.Pipes.PipeDirection]::InOut)
    $pipe.Connect(10000)
    $writer = [IO.StreamWriter]::new($pipe)
    $reader = [IO.StreamReader]::new($pipe)
    $writer.WriteLine($Line)
    $writer.Flush()
    Assert ($reader.ReadLine() -eq 'ok') "session event: $Line"
    $pipe.Dispose()
}

# What a tunnel changes of the machine's network.
function Get-Network {
    $rules = Get-ChildItem 'HKLM:\SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig' -ErrorAction SilentlyContinue
    @(
        Get-NetAdapter -IncludeHidden | ForEach-Object { "adapter $($_.Name)" }
        Get-NetIPAddress | Where-Object { $_.IPAddress -notlike 'fe80*' } | ForEach-Object { "address $($_.IPAddress) $($_.InterfaceAlias)" }
        Get-NetRoute | Where-Object { $_.DestinationPrefix -notlike 'f*' } |
            ForEach-Object { "route $($_.DestinationPrefix) $($_.NextHop) $($_.InterfaceAlias)" }
        $rules | ForEach-Object { "rule $($_.PSChildName)" }
    ) | Sort-Object -Unique
}

# Runs a verb that must fail, and gives what it said.
function Get-Refusal([string[]] $Words) {
    $said = (& $Program @Words 2>&1 | ForEach-Object { "$_" }) -join "`n"
    if ($LASTEXITCODE -ne 1) { throw "vestibule $($Words -join ' '): exit status $LASTEXITCODE, $said" }
    $said
}

$network = Get-Network
$gateway = $null
try {
    $words = 'gateway', '--data', "$work\gateway", '--organization', 'mycompany', '--advertise', '127.0.0.1:51820',
        '--route', '10.20.0.0/24', '--interface', 'vestibule-gw0'
    $gateway = Start-Process $Program -ArgumentList $words -PassThru -RedirectStandardError "$work\gateway.log"
    Wait-For 'the gateway stands' { Test-Path "$work\gateway\gateway.json" }
    $facts = Get-Content "$work\gateway\gateway.json" | ConvertFrom-Json
    $admin = (Get-Content "$work\gateway\admin-token").Trim()
    $account = "$($facts.url)/client/v4/accounts/$($facts.account_id)"
    function Invoke-Api([string] $Method, [string] $Path, $Body) {
        $json = if ($Body) { ConvertTo-Json -Depth 8 -InputObject $Body } else { $null }
        (Invoke-RestMethod -SkipCertificateCheck -Method $Method -Uri "$account/$Path" -Body $json `
            -ContentType 'application/json' -Headers @{ Authorization = "Bearer $admin" }).result
    }
    $token = Invoke-Api POST 'access/service_tokens' @{ name = 'Pre-login'; duration = '24h' }
    $app = (Invoke-Api GET 'access/apps')[0].id
    $include = @(@{ service_token = @{ token_id = $token.id } })
    Invoke-Api POST "access/apps/$app/policies" @{
        name = 'Devices'; decision = 'non_identity'; precedence = 1; include = $include
    } | Out-Null

    & $Program mdm write "$work\mdm.xml" ORGANIZATION=mycompany "AUTH_CLIENT_ID=$($token.client_id)" `
        "AUTH_CLIENT_SECRET=$($token.client_secret)" PRE_LOGIN=1
    if ($LASTEXITCODE -ne 0) { throw 'the MDM file is not written' }
    # The same rights as everybody's, who is no administrator here: a token without the group.
    $refused = "$work\refused.txt"
    $run = "$Program service run --gateway $($facts.url) --pin $($facts.certificate_sha256) --state $work\other"
    runas /trustlevel:0x20000 "cmd /c $run >$refused 2>&1" | Out-Null
    Wait-For 'without an administrator it says so' { (Get-Content $refused -ErrorAction SilentlyContinue) -match 'this needs an administrator' }
    Assert (-not (Test-Path "$work\other")) 'and has made nothing'

    & $Program service install --now --mdm "$work\mdm.xml" --state "$work\state" --gateway $facts.url `
        --pin $facts.certificate_sha256 --sessions "\\.\pipe\$sessions"
    if ($LASTEXITCODE -ne 0) { throw 'the service does not install' }

    $before = 'non_identity@mycompany.cloudflareaccess.com'
    Wait-For 'before login the device is itself' { (Get-Status).identity -eq $before }
    $address = (Get-NetIPAddress -InterfaceAlias vestibule0 -AddressFamily IPv4).IPAddress
    Assert ([bool] $address) "the adapter has an address: $address"

    Send-Session 'logon ada 1'
    Wait-For 'a user who logs on is asked to sign in' { (& $Program status --json) -match '/warp\?' }
    Assert ((Get-Status).identity -eq $before) 'until then the device stays itself'
    Send-Session 'logoff 1'

    # The card of the default route: it is what carries the tunnel on a machine with a gateway elsewhere.
    $card = (Get-NetRoute -DestinationPrefix '0.0.0.0/0' | Sort-Object RouteMetric | Select-Object -First 1).InterfaceAlias
    Disable-NetAdapter -Name $card -Confirm:$false
    Start-Sleep -Seconds 3
    Enable-NetAdapter -Name $card -Confirm:$false
    Wait-For 'after the network card came back the device is connected' { (Get-Status).state -eq 'connected' }
    Restart-NetAdapter -Name vestibule0
    Wait-For 'after its own adapter was restarted, too' { (Get-Status).state -eq 'connected' }
    Assert ((Get-NetIPAddress -InterfaceAlias vestibule0 -AddressFamily IPv4).IPAddress -eq $address) 'with the same address'

    $second = 'service', 'run', '--gateway', $facts.url, '--pin', $facts.certificate_sha256
    Assert ((Get-Refusal ($second + '--state', "$work\state")) -match 'uses the state directory') 'a second instance says so'
    $apart = $second + '--state', "$work\second", '--sessions', "\\.\pipe\$sessions-2"
    Assert ((Get-Refusal $apart) -match 'another process already listens on') 'one on the same pipe, too'
    $apart += '--control', "\\.\pipe\$sessions-control"
    Assert ((Get-Refusal $apart) -match 'is another program') 'and one with the same adapter'
    Assert ((Get-Status).state -eq 'connected') 'the first one goes on'

    # Killed while somebody comes and goes: the service manager starts it again.
    foreach ($round in 1..2) {
        Send-Session "logon ada $($round + 1)"
        Send-Session "logoff $($round + 1)"
        $process = (Get-CimInstance Win32_Service -Filter "Name='Vestibule'").ProcessId
        Stop-Process -Id $process -Force
        Wait-For "killed $round times, it comes back as who it was" {
            $now = (Get-CimInstance Win32_Service -Filter "Name='Vestibule'").ProcessId
            $now -ne 0 -and $now -ne $process -and (Get-Status).identity -eq $before
        }
        Assert ((Get-NetIPAddress -InterfaceAlias vestibule0 -AddressFamily IPv4).IPAddress -eq $address) 'with the same address'
    }

    Restart-Service Vestibule
    Wait-For 'after the service was restarted, too' { (Get-Status).identity -eq $before }
} finally {
    & $Program service uninstall
    if ($gateway) { Stop-Process -Id $gateway.Id -Force -ErrorAction SilentlyContinue }
    Get-Content "$work\gateway.log" -Tail 20 -ErrorAction SilentlyContinue
    Get-ChildItem -Recurse "$work\state" -Filter *.log -ErrorAction SilentlyContinue | ForEach-Object { Get-Content $_ -Tail 40 }
}
Assert (-not (Get-Service Vestibule -ErrorAction SilentlyContinue)) 'the service is gone'
Assert (-not (Get-NetAdapter -Name vestibule0 -ErrorAction SilentlyContinue)) 'its adapter is gone'
# The driver takes a moment to remove an adapter whose process has ended.
$until = (Get-Date).AddSeconds(60)
do { $left = Compare-Object $network (Get-Network) } while ($left -and (Get-Date) -lt $until)
Assert (-not $left) "the network is as it was before$($left | ForEach-Object { "; $($_.SideIndicator) $($_.InputObject)" })"
Remove-Item -Recurse -Force $work
