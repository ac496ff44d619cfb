//! A session in another's mailbox. The one place that knows in whose name a command is proposed: whatever concerns
//! another's mailbox goes as a guest's command, and one that a guest cannot give is refused here.

use super::core::Core;
use super::question::{Answer, Question};
use crate::mail::ids::MailboxId;
use crate::mail::rights::Rights;
use crate::state::command::{Command, GuestCommand};
use crate::state::outcome::Refusal;

impl Core {
    /// Asks for a mailbox by the name that the client gave it, its own or another's.
    pub fn reach(&self, name: String, needs: Rights) -> Question {
        Question::Reach { account: self.account(), name, needs }
    }

    /// Another's mailbox stays known as such until the command ends.
    pub fn note_reached(&mut self, answer: &Answer) {
        if let Answer::Mailbox(Some(record)) = answer
            && record.account != self.account()
        {
            self.reached = Some(record.id);
        }
    }

    fn is_anothers(&self, mailbox: MailboxId) -> bool {
        let selected = self.selected.as_ref().filter(|selected| selected.is_guest());
        self.reached == Some(mailbox) || selected.is_some_and(|selected| selected.mailbox == mailbox)
    }

    pub fn as_guest(&self, question: Question) -> Result<Question, Refusal> {
        Ok(match question {
            Question::Propose(command) => Question::Propose(self.command_as_guest(command)?),
            Question::Try(command) => Question::Try(self.command_as_guest(command)?),
            other => other,
        })
    }

    fn command_as_guest(&self, command: Command) -> Result<Command, Refusal> {
        let me = self.account();
        let anothers = |mailbox| self.is_anothers(mailbox);
        let command = match command {
            Command::CreateMailbox { account: owner, name, special_use: None } if owner != me => {
                GuestCommand::CreateMailbox { owner, name }
            }
            Command::DeleteMailbox { account: owner, name } if owner != me => {
                GuestCommand::DeleteMailbox { owner, name }
            }
            Command::RenameMailbox { account: owner, from, to } if owner != me => {
                GuestCommand::RenameMailbox { owner, from, to }
            }
            Command::Append(append) if anothers(append.mailbox) => GuestCommand::Append(append),
            Command::Store(store) if anothers(store.mailbox) => GuestCommand::Store(store),
            Command::Expunge { mailbox, uids, only_deleted: true } if anothers(mailbox) => {
                GuestCommand::Expunge { mailbox, uids }
            }
            Command::Copy(transfer) if anothers(transfer.from) || anothers(transfer.to) => {
                GuestCommand::Copy(transfer)
            }
            Command::Move(transfer) if anothers(transfer.from) || anothers(transfer.to) => {
                GuestCommand::Move(transfer)
            }
            Command::Replace(replace) if anothers(replace.from) || anothers(replace.to) => {
                GuestCommand::Replace(replace)
            }
            own if self.concerns_own(&own) => return Ok(own),
            _ => return Err(Refusal::NotPermitted),
        };
        Ok(Command::AsGuest { guest: me, command })
    }

    /// False for what a guest cannot do. To be said of every command there will be.
    fn concerns_own(&self, command: &Command) -> bool {
        let own = |account| account == self.account();
        match command {
            Command::CreateMailbox { account, .. }
            | Command::DeleteMailbox { account, .. }
            | Command::RenameMailbox { account, .. }
            | Command::Subscribe { account, .. } => own(*account),
            Command::Append(append) => !self.is_anothers(append.mailbox),
            Command::Store(store) => !self.is_anothers(store.mailbox),
            Command::Expunge { mailbox, .. } | Command::ClaimRecent { mailbox, .. } => {
                !self.is_anothers(*mailbox)
            }
            Command::Copy(transfer) | Command::Move(transfer) => {
                !self.is_anothers(transfer.from) && !self.is_anothers(transfer.to)
            }
            Command::Replace(replace) => !self.is_anothers(replace.from) && !self.is_anothers(replace.to),
            // Apply looks at the rights of whom they name.
            Command::SetAcl(set) => own(set.by),
            Command::SetMetadata(set) => own(set.account),
            Command::AsGuest { guest, .. } => own(*guest),
            // An operator's, a mail's way in, or a node's: no session proposes them.
            Command::AddDomain { .. }
            | Command::RemoveDomain { .. }
            | Command::AddUser(_)
            | Command::SetPassword { .. }
            | Command::AddUserWithScram { .. }
            | Command::SetPasswordWithScram { .. }
            | Command::AddScramKeys { .. }
            | Command::SetQuota { .. }
            | Command::SetUserEnabled { .. }
            | Command::RemoveUser { .. }
            | Command::SetAlias { .. }
            | Command::RemoveAlias { .. }
            | Command::SetSettings { .. }
            | Command::Deliver(_)
            | Command::Submit(_)
            | Command::LeaseQueued { .. }
            | Command::RenewLeases { .. }
            | Command::EndLease { .. }
            | Command::ReportDelivery(_)
            | Command::SteerQueue { .. }
            | Command::AddRule(_)
            | Command::Greylist(_)
            | Command::RemoveRule { .. }
            | Command::MoveRule { .. }
            | Command::TakeTokens(_)
            | Command::NoteOffense(_)
            | Command::AddBlock(_)
            | Command::ClearBlocks { .. }
            | Command::TakeSeats(_)
            | Command::AddRelay(_)
            | Command::RemoveRelay { .. }
            | Command::AddFirewallRule(_)
            | Command::RemoveFirewallRule { .. }
            | Command::PutScript { .. }
            | Command::RemoveScript { .. }
            | Command::RenameScript { .. }
            | Command::ActivateScript { .. }
            | Command::Vacation(_)
            | Command::AddAuthority(_)
            | Command::RemoveAuthority { .. }
            | Command::KeepStsPolicy(_)
            | Command::Accept(_)
            | Command::KeepSrsSecret(_)
            | Command::RaiseAlarm(_)
            | Command::ClearAlarm(_)
            | Command::AcceptWithTls(_)
            | Command::TallyTls(_)
            | Command::ReportTls(_)
            | Command::NoteBackup(_)
            | Command::Undelete(_)
            | Command::ForgetRemoved { .. }
            | Command::PassAddresses(_)
            | Command::SetCertificate(_)
            | Command::RemoveCertificate
            | Command::RenewCertificate(_)
            | Command::StepAcme(_)
            | Command::AddDkimKey(_)
            | Command::RemoveDkimKey { .. }
            | Command::UseDkimKey { .. }
            | Command::AddReplica { .. }
            | Command::RemoveReplica { .. }
            | Command::MarkBehind { .. }
            | Command::MarkInSync { .. }
            | Command::RetireReplica { .. }
            | Command::ReinstateReplica { .. }
            | Command::DrainNode { .. }
            | Command::UndrainNode { .. }
            | Command::SetClusterVersion { .. }
            | Command::GiveNodeId { .. } => false,
        }
    }
}
