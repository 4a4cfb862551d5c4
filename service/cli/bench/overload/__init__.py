"""`graylag bench overload`: ten times what one API process can answer, at a rate that does not wait for answers.

Why so. A closed loop (so many connections, each asks again when it has been answered, as `wrk` does) slows down with
its server: whoever would have asked meanwhile is missing from the load, and from the latencies ("coordinated
omission"). Here each request has a moment at which it is due; it leaves then, whatever became of the ones before, and
its latency counts from that moment.

Ten times the peak of a process that has a whole core is some 50,000 requests a second. With a connection for each, the
kernel alone needs more than the other core of a machine that has two. Written ahead into a few pipelined connections,
it could be sent, but nobody sends like that, and the excess would only wait in socket buffers: a closed loop again, of
bytes. So **the server is made smaller, openly**: the API process is bound to one core which it shares with a process
that does nothing but spin and has a larger weight at the scheduler. What a request costs in proportion to another one,
which is what decides about overload, is the same; ten times its peak is then what one generator on the other core can
send over real connections. The peak is measured first, in the same run, under the same share. `--share 1` leaves the
process its whole core, and the result says how much of the asked rate was sent.

Two shapes, because their costs differ:

- `kept`: connections are kept open, as a proxy keeps them to its upstream: one request at a time on each, a new
  connection for a request that finds none idle, up to a bound.
- `new`: a connection for each request, as of a herd of devices without a proxy: the listen backlog is part of it.

What cannot be seen on loopback: the kernel's share of a connection (handshake, segments) is charged to the sender's
core, and there is neither TLS nor distance.
"""
