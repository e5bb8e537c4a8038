"""What all jobs share.

`pool`: worker processes of this machine. `ray_session`: a connection to Ray. `verdict`: what an
error means for the work that is left: try again, go on without, or stop.
"""
