"""Supervision for pykka actors, as in Erlang/OTP."""
