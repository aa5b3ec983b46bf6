package folder

import "sync"

// namedRole is what a name says; of two folders with names for one role the
// one whose name comes first in the list has it.
type namedRole struct {
	role  Role
	order int
}

// rolesByName is by folded name.
var rolesByName = sync.OnceValue(func() map[string]namedRole {
	byName := make(map[string]namedRole)
	for role, names := range roleNames {
		for i, name := range names {
			if folded := foldName(name); byName[folded] == (namedRole{}) {
				byName[folded] = namedRole{role: role, order: i}
			}
		}
	}
	return byName
})

// roleNames are the names that mail clients and servers give to folders with a
// role, by language. English goes first: where a mailbox has folders of two
// languages, the other one mostly comes from a client that was tried once.
var roleNames = map[Role][]string{
	RoleSent: {
		"Sent", "Sent Items", "Sent Messages", "Sent Mail", "Sent Mails", // English
		"Gesendet", "Gesendete Elemente", "Gesendete Objekte", "Gesendete Nachrichten", "Gesendete E-Mails", // German
		"Envoyés", "Éléments envoyés", "Messages envoyés", "Courrier envoyé", "Mails envoyés", "Envoyé", // French
		"Enviados", "Elementos enviados", "Mensajes enviados", "Correo enviado", "Enviado", // Spanish
		"Itens enviados", "Mensagens enviadas", "E-mails enviados", "Correio enviado", "Enviadas", // Portuguese
		"Inviati", "Posta inviata", "Inviata", "Messaggi inviati", "Elementi inviati", // Italian
		"Enviats", "Elements enviats", // Catalan
		"Verzonden", "Verzonden items", "Verzonden berichten", // Dutch
		"Skickat", "Skickade", "Skickade objekt", "Skickade meddelanden", // Swedish
		"Sendt", "Sendte", "Sendt post", "Sendte elementer", "Sendte meddelelser", "Sendt e-post", // Danish, Norwegian
		"Lähetetyt", "Lähetetyt viestit", "Lähetetyt kohteet", // Finnish
		"Wysłane", "Elementy wysłane", "Wysłana poczta", "Wiadomości wysłane", //nolint:misspell // Polish
		"Odeslané", "Odeslaná pošta", "Odeslané zprávy", "Odeslané položky", // Czech
		"Odoslané", "Odoslaná pošta", "Odoslané správy", "Odoslané položky", // Slovak
		"Elküldött", "Elküldött elemek", "Elküldöttek", "Elküldött üzenetek", "Elküldött levelek", // Hungarian
		"Trimise", "Elemente trimise", "Mesaje trimise", "Mesaje expediate", // Romanian
		"Изпратени", "Изпратени елементи", "Изпратена поща", // Bulgarian
		"Отправленные", "Отправленные элементы", "Отправленная почта", // Russian
		"Надіслані", "Надіслані елементи", "Відправлені", // Ukrainian
		"Απεσταλμένα", "Απεσταλμένα στοιχεία", "Απεσταλμένη αλληλογραφία", "Σταλμένα", // Greek
		"Gönderilmiş", "Gönderilenler", "Gönderilmiş Öğeler", "Gönderilmiş Postalar", "Gönderilmiş İletiler", // Turkish
		"Poslano", "Poslane stavke", "Poslana pošta", "Poslato", "Poslate poruke", "Послато", // Croatian, Slovenian, Serbian
		"Išsiųsta", "Išsiųsti", "Išsiųsti laiškai", // Lithuanian
		"Nosūtītie", "Nosūtītās vēstules", // Latvian
		"Saadetud", "Saadetud kirjad", "Saadetud üksused", // Estonian
		"送信済み", "送信済みメール", "送信済みアイテム", "送信済みトレイ", "送信済メール", // Japanese
		"已发送", "已发送邮件", "已发邮件", "已發送", "寄件備份", "寄件备份", "已傳送的郵件", "已寄出郵件", "寄件備份匣", // Chinese
		"보낸편지함", "보낸 편지함", "보낸메일함", "보낸 메일함", "보낸 항목", "보낸 메시지", // Korean
		"المرسلة", "المرسل", "البريد المرسل", "الرسائل المرسلة", "العناصر المرسلة", // Arabic
		"נשלח", "נשלחו", "דואר שנשלח", "פריטים שנשלחו", "הודעות שנשלחו", // Hebrew
		"Đã gửi", "Thư đã gửi", "Mục đã gửi", // Vietnamese
		"ส่งแล้ว", "จดหมายที่ส่งแล้ว", "รายการที่ส่ง", "รายการที่ถูกส่ง", // Thai
		"Terkirim", "Pesan terkirim", "Item terkirim", "Surat terkirim", // Indonesian
		"भेजे गए", "भेजा गया मेल", "भेजे गए आइटम", // Hindi
	},
	RoleDrafts: {
		"Drafts", "Draft", "Draft Messages", // English
		"Entwürfe", "Entwurf", // German
		"Brouillons", "Brouillon", // French
		"Borradores", "Borrador", // Spanish
		"Rascunhos", "Rascunho", // Portuguese
		"Bozze", "Bozza", // Italian
		"Esborranys",                   // Catalan
		"Concepten", "Concept", "Klad", // Dutch
		"Utkast",            // Swedish, Norwegian
		"Kladder", "Udkast", // Danish
		"Kladd",                                     // Norwegian
		"Luonnokset",                                // Finnish
		"Szkice", "Wersje robocze", "Kopie robocze", // Polish
		"Koncepty", "Rozepsané", "Rozepsaná pošta", // Czech, Slovak
		"Rozpísané",               // Slovak
		"Piszkozatok", "Vázlatok", // Hungarian
		"Schițe", "Ciorne", "Mesaje nefinalizate", // Romanian
		"Чернови",               // Bulgarian
		"Черновики", "Черновик", // Russian
		"Чернетки",            // Ukrainian
		"Πρόχειρα",            // Greek
		"Taslaklar", "Taslak", // Turkish
		"Skice", "Nacrti", "Osnutki", "Недовршено", "Nedovršeno", // Croatian, Slovenian, Serbian
		"Juodraščiai",           // Lithuanian
		"Melnraksti",            // Latvian
		"Mustandid",             // Estonian
		"下書き", "下書きメール", "ドラフト", // Japanese
		"草稿", "草稿箱", "草稿夹", "草稿匣", "草稿夾", // Chinese
		"임시보관함", "임시 보관함", "임시저장", "초안", // Korean
		"المسودات", "مسودات", "مسودة", // Arabic
		"טיוטות",                       // Hebrew
		"Thư nháp", "Bản nháp", "Nháp", // Vietnamese
		"ร่างจดหมาย", "แบบร่าง", "ฉบับร่าง", "ร่าง", // Thai
		"Draf", "Konsep", // Indonesian
		"ड्राफ़्ट", "प्रारूप", // Hindi
	},
	RoleTrash: {
		"Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Deleted Mail", "Trash Bin", // English
		"Papierkorb", "Gelöschte Elemente", "Gelöschte Objekte", "Gelöscht", "Gelöschte Nachrichten", // German
		"Corbeille", "Éléments supprimés", "Messages supprimés", "Poubelle", // French
		"Papelera", "Elementos eliminados", "Mensajes eliminados", "Eliminados", "Papelera de reciclaje", "Correo eliminado", // Spanish
		"Lixo", "Lixeira", "Itens excluídos", "Itens eliminados", "Mensagens excluídas", "Reciclagem", // Portuguese
		"Cestino", "Posta eliminata", "Eliminata", "Messaggi eliminati", "Elementi eliminati", // Italian
		"Paperera", "Elements suprimits", // Catalan
		"Prullenbak", "Prullenmand", "Verwijderde items", "Verwijderde berichten", // Dutch
		"Papperskorgen", "Papperskorg", "Borttaget", "Borttagna objekt", // Swedish
		"Papirkurv", "Slettet post", "Slettede elementer", "Papirkurven", "Slettet", // Danish, Norwegian
		"Roskakori", "Poistetut", "Poistetut viestit", "Poistetut kohteet", // Finnish
		"Kosz", "Elementy usunięte", "Usunięte", //nolint:misspell // Polish
		"Koš", "Odstraněná pošta", "Odstraněné položky", "Smazané", // Czech
		"Kôš", "Odstránené položky", "Odstránená pošta", // Slovak
		"Kuka", "Lomtár", "Törölt elemek", "Törölt", "Törölt üzenetek", // Hungarian
		"Coș de gunoi", "Gunoi", "Elemente șterse", "Mesaje șterse", // Romanian
		"Кошче", "Изтрити", "Изтрити елементи", // Bulgarian
		"Корзина", "Удаленные", "Удалённые", "Удаленные элементы", // Russian
		"Кошик", "Видалені", "Видалені елементи", // Ukrainian
		"Κάδος", "Κάδος απορριμμάτων", "Διαγραμμένα", "Διαγραμμένα στοιχεία", "Κάδος ανακύκλωσης", // Greek
		"Çöp", "Çöp Kutusu", "Silinmiş Öğeler", "Silinenler", "Silinmiş Postalar", // Turkish
		"Otpad", "Smeće", "Izbrisane stavke", "Izbrisano", "Koš za smeće", "Smetnjak", "Smeti", "Отпад", "Корпа", // Croatian, Slovenian, Serbian
		"Šiukšlinė", "Šiukšliadėžė", "Ištrinti", "Ištrinti laiškai", // Lithuanian
		"Atkritne", "Miskaste", "Dzēstie", // Latvian
		"Prügikast", "Prügi", "Kustutatud", "Kustutatud kirjad", // Estonian
		"ゴミ箱", "ごみ箱", "削除済み", "削除済みアイテム", "削除済みメール", "削除済みトレイ", // Japanese
		"已删除", "已删除邮件", "垃圾桶", "废件箱", "已刪除的郵件", "已刪除", "刪除的郵件", "废纸篓", "回收站", // Chinese
		"휴지통", "지운편지함", "지운 편지함", "삭제된 항목", "삭제한 메시지", // Korean
		"المهملات", "سلة المهملات", "العناصر المحذوفة", "المحذوفة", "الرسائل المحذوفة", // Arabic
		"אשפה", "פח אשפה", "פריטים שנמחקו", "נמחקו", // Hebrew
		"Thùng rác", "Mục đã xóa", "Đã xóa", // Vietnamese
		"ถังขยะ", "รายการที่ถูกลบ", "รายการที่ลบ", // Thai
		"Sampah", "Item terhapus", "Tong sampah", "Kotak sampah", // Indonesian
		"ट्रैश", "हटाए गए आइटम", // Hindi
	},
	RoleJunk: {
		"Junk", "Spam", "Junk E-mail", "Junk Email", "Junk Mail", "Bulk Mail", "Bulk", "Suspected Spam", "Spam Mail", // English
		"Spamverdacht", "Junk-E-Mail", "Unerwünscht", "Werbung und Spam", "Unerwünschte Werbung", // German
		"Courrier indésirable", "Indésirables", "Pourriel", "Pourriels", "Messages indésirables", // French
		"Correo no deseado", "Correo basura", "No deseado", "Correo electrónico no deseado", // Spanish
		"Lixo eletrônico", "Lixo eletrónico", "Correio não solicitado", "Lixo electrónico", "Correio eletrónico não solicitado", // Portuguese
		"Posta indesiderata", "Indesiderata", // Italian
		"Correu brossa",                                                                // Catalan
		"Ongewenste e-mail", "Ongewenst", "Ongewenste berichten", "Ongewenste reclame", // Dutch
		"Skräppost", "Skräp", // Swedish
		"Uønsket mail", "Uønsket post", "Uønsket e-mail", "Søppelpost", "Uønsket e-post", "Søppel-e-post", // Danish, Norwegian
		"Roskaposti", "Roskapostit", // Finnish
		"Wiadomości-śmieci", "Niechciane", "Wiadomości śmieci", // Polish
		"Nevyžádaná pošta", "Nevyžádané", // Czech, Slovak
		"Nevyžiadaná pošta",     // Slovak
		"Levélszemét", "Spamek", // Hungarian
		"Mesaje nedorite", "E-mail nedorit", "E-mail nesolicitat", // Romanian
		"Спам", "Нежелана поща", "Нежелани", // Bulgarian
		"Нежелательная почта", "Нежелательные", // Russian
		"Небажана пошта",                                         // Ukrainian
		"Ανεπιθύμητα", "Ανεπιθύμητη αλληλογραφία", "Ανεπιθύμητη", // Greek
		"Önemsiz", "Önemsiz E-posta", "İstenmeyen", "İstenmeyen Posta", "Gereksiz", "Gereksiz E-posta", // Turkish
		"Neželjena pošta", "Neželena pošta", "Bezvrijedna pošta", "Непожељна пошта", "Нежељена пошта", // Croatian, Slovenian, Serbian
		"Brukalas", "Šlamštas", "Nepageidaujami laiškai", // Lithuanian
		"Mēstules", "Surogātpasts", // Latvian
		"Rämpspost", "Rämps", // Estonian
		"迷惑メール", "スパム", "迷惑メールフォルダ", // Japanese
		"垃圾邮件", "垃圾箱", "垃圾郵件", "垃圾信件", "垃圾信件匣", "广告邮件", // Chinese
		"스팸", "스팸함", "스팸메일함", "스팸 메일함", "스팸편지함", "정크 메일", // Korean
		"البريد العشوائي", "البريد غير المرغوب فيه", "بريد إلكتروني عشوائي", // Arabic
		"דואר זבל", "ספאם", "דואר אלקטרוני זבל", // Hebrew
		"Thư rác", "Email rác", // Vietnamese
		"จดหมายขยะ", "อีเมลขยะ", "สแปม", // Thai
		"Email sampah", "Surat sampah", // Indonesian
		"स्पैम", "जंक ईमेल", // Hindi
	},
	RoleArchive: {
		"Archive", "Archives", "Archived", // English, French
		"Archiv",                             // German, Czech
		"Archivo", "Archivados", "Archivado", // Spanish
		"Arquivo", "Arquivadas", "Arquivados", "Arquivo morto", // Portuguese
		"Archivio", "Archiviati", "Archiviate", // Italian
		"Arxiu",                     // Catalan
		"Archief",                   // Dutch
		"Arkiv",                     // Swedish, Danish, Norwegian
		"Arkisto",                   // Finnish
		"Archiwum",                  // Polish
		"Archív",                    // Slovak
		"Archívum",                  // Hungarian
		"Arhivă", "Arhiva", "Arhiv", // Romanian, Croatian, Serbian, Slovenian
		"Архив",                                // Bulgarian, Russian
		"Архів",                                // Ukrainian
		"Архива",                               // Serbian
		"Αρχείο", "Αρχειοθήκη", "Αρχειοθέτηση", // Greek
		"Arşiv",                // Turkish
		"Archyvas", "Archyvai", // Lithuanian
		"Arhīvs",      // Latvian
		"Arhiiv",      // Estonian
		"アーカイブ", "保管", // Japanese
		"归档", "存档", "封存", "封存檔", "已归档", "歸檔", "保存的邮件", // Chinese
		"보관함", "보관", "아카이브", "보관 메일", // Korean
		"الأرشيف", "أرشيف", // Arabic
		"ארכיון",                 // Hebrew
		"Lưu trữ", "Kho lưu trữ", // Vietnamese
		"ที่เก็บถาวร", "เก็บถาวร", "คลังจดหมาย", // Thai
		"Arsip",             // Indonesian
		"संग्रह", "आर्काइव", // Hindi
	},
}
