# Commands for gdb on a recording (strata debug): those of "monitor help" that go elsewhere, after which gdb looks again.

define strata-moved
  maintenance flush register-cache
  maintenance flush dcache
  frame
end
document strata-moved
Look again at the machine, after a monitor command that goes elsewhere.
end

define when
  monitor when
end
document when
Say where the run is.
end

define goto
  monitor goto $arg0
  strata-moved
end
document goto
Go to N instructions of machine time, to begin or to end.
end

define last-write
  monitor last-write $arg0
  strata-moved
end
document last-write
Go back to before the last store to ADDR, ADDR,LENGTH, phys:ADDR,LENGTH or vmcs:FIELD.
end

define last-exec
  monitor last-exec $arg0
  strata-moved
end
document last-exec
Go back to where ADDR was last about to run.
end

define why-interrupt
  monitor why-interrupt
  strata-moved
end
document why-interrupt
Go back to where the processor was about to take its last interrupt, and say who asked for it.
end

define next-exit
  if $argc == 0
    monitor next-exit
  else
    monitor next-exit $arg0
  end
  strata-moved
end
document next-exit
Go to the next VM exit, or the next for REASON, a number or a name.
end

define last-exit
  if $argc == 0
    monitor last-exit
  else
    monitor last-exit $arg0
  end
  strata-moved
end
document last-exit
Go back to the last VM exit, or the last for REASON, a number or a name.
end
