package mailroom

// cursor is the place of a subscription, from which it is resumed without gaps and without repeats.
//
// Places are event ids, which sort in delivery order. A replay of unread messages cannot be resumed by a place, because a later message
// may have been read already. Until that replay is over, the cursor remembers the ids that were yielded, and the replay is
// requested again.
// Invariant: the place moves when an event is admitted, that is, right before it is yielded.
type cursor struct {
	after   string // resume after this event; "": start with what comes next
	unread  bool   // the next request asks for the unread messages
	yielded map[string]struct{}
}

// admit moves to an event; it returns whether the event is new.
func (c *cursor) admit(eventID string) bool {
	if c.unread {
		_, isKnown := c.yielded[eventID]
		if c.yielded == nil {
			c.yielded = map[string]struct{}{}
		}
		c.yielded[eventID] = struct{}{}
		return !isKnown
	}
	if eventID <= c.after {
		return false
	}
	c.after = eventID
	return true
}

// recordCaughtUp moves to the end of the replay, even backwards: a place that the daemon never issued has no effect.
func (c *cursor) recordCaughtUp(lastID string) {
	c.after = max(Beginning, lastID)
	for eventID := range c.yielded {
		c.after = max(c.after, eventID)
	}
	c.unread, c.yielded = false, nil
}

// recordGoingAway moves to the place from which the stopping daemon wants to be resumed.
func (c *cursor) recordGoingAway(lastID string) {
	if !c.unread {
		c.after = max(c.after, lastID)
	}
}
