#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The sections of NumPy's example, without a line of tracing: each is followed by a wait for SIGUSR1, which allocates nothing."""
import os
import signal

import numpy as np

nx = 300
ny = 500

GO = {signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, GO)
os.write(1, b"start\n")
signal.sigwait(GO)

# Section 1
# ---------

# NumPy related call
a = np.zeros((nx,ny))

# non-NumPy related call
b = [i**2 for i in range(nx*ny)]

os.write(1, b"snapshot\n")
signal.sigwait(GO)

# Section 2
#----------

# We are only using NumPy
c = np.sum(a*a)

os.write(1, b"snapshot\n")
signal.sigwait(GO)
