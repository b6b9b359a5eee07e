"""A stand-in for the Go program of the same name (abizer/nssh, version 2), in both of its roles, and tests against it.

It is made from that program's protocol and from how it behaves, and holds nothing of its code. It does what that one
does where another program can tell: what is sent, with which headers, in which order; what is asked for after a
reconnect; the records and session files; what a signal does. That includes what goes wrong there: an answer that falls
between replay and live stream is missed, a file that can't be fetched yet is given up. Mosh and questions are left out.
"""
