# The Windows steps on Windows itself, as the hosted workflows call them; an administrator can run them, too.
#
#   tests\windows\native.ps1 unit               the workspace's tests, and the swap without devices
#   tests\windows\native.ps1 adapters           Wintun's own: fifty come and go, two live beside each other
#   tests\windows\native.ps1 installer PACKAGE  installs a package made by control/installer/build, and takes it off again
param([Parameter(Mandatory)] [string] $Part, [string] $File)
$ErrorActionPreference = 'Stop'
Set-Location (Join-Path $PSScriptRoot '..\..')

# Runs a program; its failure is ours.
function Invoke-Program([string] $Program, [string[]] $Words) {
    & $Program @Words
    if ($LASTEXITCODE -ne 0) { throw "$Program $($Words -join ' '): exit status $LASTEXITCODE" }
}

function Assert([bool] $Holds, [string] $Claim) {
    if (-not $Holds) { throw "not so: $Claim" }
    Write-Output "ok: $Claim"
}

function Invoke-Unit {
    $packages = '-p', 'vestibule-engine', '-p', 'vestibule-aead', '-p', 'vestibule-platform', '-p', 'vestibule-control'
    Invoke-Program cargo (@('test', '--locked', '--no-fail-fast') + $packages)
    Invoke-Program cargo @('build', '--locked', '--bins')
    Invoke-Program 'target\debug\vestibule.exe' @('demo', '--userspace', '--swaps', '100', '--rate', '500', '--tcp-rate', '5')
}

# The library is looked for beside the program, which is the test program here.
function Invoke-Adapters {
    & (Join-Path $PSScriptRoot 'wintun.ps1') -To 'target\debug\deps'
    $words = 'test', '--locked', '-p', 'vestibule-platform', '--test', 'adapters', '--', '--ignored', '--test-threads=1'
    Invoke-Program cargo $words
}

function Invoke-Installer([string] $Package) {
    $log = Join-Path ([IO.Path]::GetTempPath()) 'vestibule-install.log'
    $secret = 'a-secret-of-the-test'
    $words = '/i', $Package, '/qn', '/l*v', $log, 'ORGANIZATION=mycompany', 'AUTH_CLIENT_ID=1a2b3c.access',
        "AUTH_CLIENT_SECRET=$secret", 'PRE_LOGIN=1', 'SERVICE_MODE=tunnelonly'
    $code = (Start-Process msiexec.exe -ArgumentList $words -Wait -PassThru).ExitCode
    Assert ($code -eq 0) "it installs (exit status $code)"
    $program = Join-Path $env:ProgramFiles 'Vestibule\vestibule.exe'
    Assert (Test-Path $program) 'the program is there'
    Invoke-Program $program @('--version')
    Assert (Select-String -Quiet -SimpleMatch $secret "$env:ProgramData\Cloudflare\mdm.xml") 'the token is in mdm.xml'
    Assert (-not (Select-String -Quiet -SimpleMatch $secret $log)) 'the token is not in the log'
    $code = (Start-Process msiexec.exe -ArgumentList '/x', $Package, '/qn' -Wait -PassThru).ExitCode
    Assert ($code -eq 0) "it uninstalls (exit status $code)"
    Assert (-not (Test-Path $program)) 'the program is gone'
}

switch ($Part) {
    'unit' { Invoke-Unit }
    'adapters' { Invoke-Adapters }
    'installer' { Invoke-Installer (Resolve-Path $File).Path }
    default { throw "no part $Part" }
}
