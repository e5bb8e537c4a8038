"""What all jobs share.

`ray_session`: a connection to Ray. `verdict`: what an error means for the work that is left: try
again, go on without, or stop.
"""
