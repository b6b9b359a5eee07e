"""The clipboard of Windows, used from WSL: clip.exe writes text, PowerShell does the rest."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ToolError
from nssh.local import clipboard_content, tool_runner
from nssh.local.clipboard_base import MARKED_SECRET, OfferingClipboard, ToolClipboard
from nssh.local.clipboard_content import ClipboardEmpty, Content, SensitiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The scripts are fixed. PowerShell needs -STA: only threads of a single-threaded apartment may use the clipboard.
_HEAD = """\
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.Windows.Forms, System.Drawing
$out = [Console]::OpenStandardOutput()
function Send([byte[]]$bytes) { $out.Write($bytes, 0, $bytes.Length); $out.Flush() }
"""
_TYPES = """\
$data = [Windows.Forms.Clipboard]::GetDataObject()
$names = @()
if ($data) {
    $formats = $data.GetFormats()
    if ($formats -contains 'ExcludeClipboardContentFromMonitorProcessing') { $names += 'secret' }
    if ($formats -contains 'Clipboard Viewer Ignore') { $names += 'secret' }
    if ([Windows.Forms.Clipboard]::ContainsText()) { $names += 'text/plain' }
    if ($formats -contains 'PNG' -or [Windows.Forms.Clipboard]::ContainsImage()) { $names += 'image/png' }
    if ($formats -contains 'HTML Format') { $names += 'text/html' }
}
Send([Text.Encoding]::UTF8.GetBytes($names -join "`n"))
"""
_READ = {
    "text/plain": "$bytes = [Text.Encoding]::UTF8.GetBytes([Windows.Forms.Clipboard]::GetText())\n",
    "image/png": """\
$data = [Windows.Forms.Clipboard]::GetDataObject()
if ($data.GetDataPresent('PNG')) { $bytes = $data.GetData('PNG').ToArray() }
else {
    $memory = New-Object IO.MemoryStream
    [Windows.Forms.Clipboard]::GetImage().Save($memory, [Drawing.Imaging.ImageFormat]::Png)
    $bytes = $memory.ToArray()
}
""",
    "text/html": """\
$html = [Windows.Forms.Clipboard]::GetText([Windows.Forms.TextDataFormat]::Html)
if ($html -match '(?s)<!--StartFragment-->(.*)<!--EndFragment-->') { $html = $Matches[1] }
$bytes = [Text.Encoding]::UTF8.GetBytes($html)
""",
}
# Check for passwords again, right before sending: the types were asked for by another PowerShell, a second ago.
_SEND = """\
$data = [Windows.Forms.Clipboard]::GetDataObject()
if ($data) {
    $formats = $data.GetFormats()
    if ($formats -contains 'ExcludeClipboardContentFromMonitorProcessing') { exit 3 }
    if ($formats -contains 'Clipboard Viewer Ignore') { exit 3 }
}
Send($bytes)
"""
_SECRET = 3
_WRITE_PNG = """\
$memory = New-Object IO.MemoryStream
[Console]::OpenStandardInput().CopyTo($memory)
$data = New-Object Windows.Forms.DataObject
$data.SetData('PNG', $false, $memory)
$data.SetImage([Drawing.Image]::FromStream($memory))
[Windows.Forms.Clipboard]::SetDataObject($data, $true)
"""
# Seconds. PowerShell takes one to start, and more on a machine that has just woken up.
_READ_TIMEOUT = 15.0


class WslClipboard(ToolClipboard, OfferingClipboard):
    """Text, PNG and, for reading only, HTML. Methods block for the timeouts at most; for any thread."""

    name = "wsl"

    def __init__(
        self,
        clip: str,
        powershell: str,
        environ: Mapping[str, str],
        *,
        read_timeout: float = _READ_TIMEOUT,
        write_timeout: float = _READ_TIMEOUT,
    ) -> None:
        super().__init__(environ, read_timeout=read_timeout, write_timeout=write_timeout)
        self._clip = clip
        self._powershell = powershell

    def _replace(self, mime: str, data: Content) -> None:
        if mime == clipboard_content.TEXT:
            # clip.exe reads UTF-16 if it begins with a byte order mark, and otherwise the old code page.
            text = data.read_all().decode("utf-8", "replace").encode("utf-16-le")
            tool_runner.run([self._clip], stdin=b"\xff\xfe" + text, timeout=self._write_timeout, environ=self._environ)
        elif mime == clipboard_content.PNG:
            self._run(_WRITE_PNG, Content(), self._write_timeout, stdin=data)
        else:
            raise ToolError(f"the clipboard of Windows is bridged for text and PNG, not {mime}")

    def _offered(self, deadline: float) -> list[str]:
        names = Content()
        self._run(_TYPES, names, _left(deadline))
        found = names.read_all().decode("utf-8", "replace").split()
        return [MARKED_SECRET if name == "secret" else name for name in found]

    def _get(self, name: str, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        if name not in _READ:
            raise ClipboardEmpty(name)
        data = Content()
        try:
            self._run(_READ[name] + _SEND, data, _left(deadline), limit=limit, progress=progress)
        except tool_runner.ToolFailedError as error:
            if error.status == _SECRET:
                raise SensitiveError from None
            raise
        return data

    def _refuse_new_secrets(self) -> None:
        """Do nothing: the script has checked when it read."""

    def _run(
        self,
        script: str,
        output: Content,
        timeout: float,
        *,
        stdin: Content | bytes = b"",
        limit: int = 1 << 20,
        progress: Callable[[], None] | None = None,
    ) -> None:
        # An encoded command needs no quoting, neither Linux's nor Windows', and leaves stdin free.
        encoded = base64.b64encode((_HEAD + script).encode("utf-16-le")).decode("ascii")
        argv = [self._powershell, "-NoProfile", "-NonInteractive", "-STA", "-EncodedCommand", encoded]
        tool_runner.run(
            argv, stdin=stdin, timeout=timeout, limit=limit, environ=self._environ, output=output, progress=progress
        )


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
